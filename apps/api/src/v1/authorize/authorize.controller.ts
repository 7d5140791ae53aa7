import { Controller, HttpCode, Post, Req } from '@nestjs/common';
import { ApiBody, ApiOkResponse, ApiTags } from '@nestjs/swagger';
import type { FastifyRequest } from 'fastify';
import type { z } from 'zod';
import { BUILT_IN_SOURCES, SourceDirectory } from '#libs/metering/index.js';
import { AuthorizeCall } from '#libs/quota/index.js';
import type { Caller } from '#libs/tenancy/index.js';
import { callerOf, RequireScope } from '../../http/access.js';
import { bodySchema } from '../../http/openapi.js';
import { assertTenantAccess } from '../../http/tenant-access.js';
import { fieldProblems, invalidRequest } from '../../http/validation.js';
import { authorizeAnswer, authorizeBody } from './authorize.schemas.js';
import { toAnswerWire, toAuthorizeInput } from './authorize.wire.js';
import { readPlainBody } from './plain-body.js';

@ApiTags('authorize')
@Controller()
export class AuthorizeController {
  constructor(
    private readonly authorizeCall: AuthorizeCall,
    private readonly sources: SourceDirectory,
  ) {}

  /** Asks before a call: may it run, and with how much of the balance held for it. Always 200; a denial is an answer. */
  @Post(['v1/authorize', 'authorize'])
  @HttpCode(200)
  @RequireScope('authorize')
  @ApiBody({ schema: bodySchema(authorizeBody) })
  @ApiOkResponse({ standardSchema: authorizeAnswer })
  async authorize(@Req() request: FastifyRequest): Promise<z.infer<typeof authorizeAnswer>> {
    const body = readBody(request.body);
    const caller = callerOf(request);
    const named = body.tenant_id ?? null;
    if (named !== null) assertTenantAccess(caller, named);
    const input = toAuthorizeInput(body, {
      tenantId: named ?? caller.tenantId,
      sourceId: caller.sourceId ?? '',
      maySetUpTenants: async () => await this.maySetUpTenants(caller),
    });
    return toAnswerWire(await this.authorizeCall.execute(input), input, prefersMinimal(request));
  }

  private async maySetUpTenants(caller: Caller): Promise<boolean> {
    const source = await this.sources.find(caller.sourceId ?? BUILT_IN_SOURCES.api);
    return source !== null && source.trustTenant && source.onNewTenant === 'create';
  }
}

/** By hand instead of through pipes, which cost every call as much as its decision. @throws DomainError request.invalid */
function readBody(body: unknown): z.infer<typeof authorizeBody> {
  const plain = readPlainBody(body);
  if (plain !== null) return plain;
  const read = authorizeBody.safeParse(body);
  if (!read.success) throw invalidRequest(fieldProblems(read.error.issues));
  return read.data;
}

function prefersMinimal(request: FastifyRequest): boolean {
  const prefer = request.headers['prefer'];
  return prefer !== undefined && String(prefer).includes('return=minimal');
}
