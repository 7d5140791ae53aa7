import { Body, Controller, HttpCode, Post, Req } from '@nestjs/common';
import { ApiOkResponse, ApiTags } from '@nestjs/swagger';
import type { FastifyRequest } from 'fastify';
import type { z } from 'zod';
import { BUILT_IN_SOURCES, SourceDirectory } from '#libs/metering/index.js';
import { AuthorizeCall } from '#libs/quota/index.js';
import type { Caller } from '#libs/tenancy/index.js';
import { CurrentCaller, RequireScope } from '../../http/access.js';
import { assertTenantAccess } from '../../http/tenant-access.js';
import { authorizeAnswer, authorizeBody } from './authorize.schemas.js';
import { toAnswerWire, toAuthorizeInput } from './authorize.wire.js';

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
  @ApiOkResponse({ standardSchema: authorizeAnswer })
  async authorize(
    @Body({ schema: authorizeBody }) body: z.infer<typeof authorizeBody>,
    @CurrentCaller() caller: Caller,
    @Req() request: FastifyRequest,
  ): Promise<z.infer<typeof authorizeAnswer>> {
    const named = body.tenant_id ?? null;
    if (named !== null) assertTenantAccess(caller, named);
    const input = toAuthorizeInput(body, {
      tenantId: named ?? caller.tenantId,
      sourceId: caller.sourceId ?? '',
      maySetUpTenants: async () => {
        const source = await this.sources.find(caller.sourceId ?? BUILT_IN_SOURCES.api);
        return source !== null && source.trustTenant && source.onNewTenant === 'create';
      },
    });
    return toAnswerWire(await this.authorizeCall.execute(input), input, prefersMinimal(request));
  }
}

function prefersMinimal(request: FastifyRequest): boolean {
  const prefer = request.headers['prefer'];
  return prefer !== undefined && String(prefer).includes('return=minimal');
}
