import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { Controller, Get, Param, Res } from '@nestjs/common';
import { ApiExcludeController } from '@nestjs/swagger';
import type { FastifyReply } from 'fastify';
import { DomainError } from '#libs/kernel/index.js';
import { PublicRoute } from '../../http/access.js';

const ASSETS: Record<string, string> = { 'swagger-ui.css': 'text/css; charset=utf-8', 'swagger-ui-bundle.js': 'text/javascript; charset=utf-8' };
const START = `SwaggerUIBundle({ url: '/openapi.json', dom_id: '#docs', deepLinking: true });`;
const PAGE = `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>Tollgate API</title><link rel="stylesheet" href="/docs/swagger-ui.css"></head>
<body><div id="docs"></div><script src="/docs/swagger-ui-bundle.js"></script><script src="/docs/start.js"></script></body>
</html>
`;
// The page runs its own scripts only; Swagger UI sets inline styles and shows data: images.
const PAGE_POLICY = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'";

/** The API's documentation for people, served from the installed package: no content delivery network. */
@ApiExcludeController()
@Controller('docs')
export class DocsController {
  private readonly root = dirname(createRequire(import.meta.url).resolve('swagger-ui-dist/package.json'));

  @Get()
  @PublicRoute()
  async page(@Res() reply: FastifyReply): Promise<void> {
    await reply.header('content-security-policy', PAGE_POLICY).type('text/html; charset=utf-8').send(PAGE);
  }

  @Get('start.js')
  @PublicRoute()
  async start(@Res() reply: FastifyReply): Promise<void> {
    await reply.type('text/javascript; charset=utf-8').send(START);
  }

  @Get(':asset')
  @PublicRoute()
  async asset(@Param('asset') name: string, @Res() reply: FastifyReply): Promise<void> {
    const type = Object.hasOwn(ASSETS, name) ? ASSETS[name] : undefined;
    if (type === undefined) throw new DomainError({ code: 'route.not_found', kind: 'not_found', publicMessage: 'there is no such route' });
    await reply.type(type).send(await readFile(join(this.root, name)));
  }
}
