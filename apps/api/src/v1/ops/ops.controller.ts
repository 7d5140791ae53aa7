import { Controller, Get, Res } from '@nestjs/common';
import { ApiExcludeController } from '@nestjs/swagger';
import type { FastifyReply } from 'fastify';
import { HealthChecks } from '#libs/platform/health/health.js';
import { PublicRoute } from '../../http/access.js';
import { OpenApiDocument } from '../../http/openapi.js';
import { Metrics } from '../../http/metrics.js';

/** What machines ask: is it alive, is it ready, what are its numbers, what are its routes. */
@ApiExcludeController()
@Controller()
export class OpsController {
  constructor(
    private readonly health: HealthChecks,
    private readonly metrics: Metrics,
    private readonly document: OpenApiDocument,
  ) {}

  @Get('health/live')
  @PublicRoute()
  live(): { status: string } {
    return { status: 'ok' };
  }

  @Get('health/ready')
  @PublicRoute()
  async ready(@Res({ passthrough: true }) reply: FastifyReply): Promise<object> {
    const { ok, checks } = await this.health.run();
    if (!ok) void reply.code(503).header('retry-after', '1');
    return { status: ok ? 'ok' : 'unavailable', checks: Object.fromEntries(checks.map(({ name, ...result }) => [name, result])) };
  }

  @Get('metrics')
  @PublicRoute()
  async readMetrics(@Res() reply: FastifyReply): Promise<void> {
    await reply.header('content-type', this.metrics.contentType).send(await this.metrics.render());
  }

  @Get('openapi.json')
  @PublicRoute()
  openapi(): object {
    return this.document.get();
  }
}
