import { Controller, HttpCode, Post, Req } from '@nestjs/common';
import { ApiBody, ApiOkResponse, ApiTags } from '@nestjs/swagger';
import type { FastifyRequest } from 'fastify';
import { BUILT_IN_SOURCES, readLiteLlmGuardrail, SourceDirectory } from '#libs/metering/index.js';
import { AuthorizeCall } from '#libs/quota/index.js';
import type { Caller } from '#libs/tenancy/index.js';
import { CurrentCaller, RequireScope } from '../../http/access.js';
import { callerSource } from '../../http/caller-source.js';
import { bodySchema } from '../../http/openapi.js';
import { retryAfterSeconds } from '../../http/problem.js';
import { ask, type Outcome } from './ask.js';
import { guardrailAnswer, guardrailBody, type GuardrailAnswer } from './dialects.schemas.js';
import { gatewayJson, questionFields } from './gateway-json.js';

@ApiTags('authorize')
@Controller('v1/authorize/litellm')
export class LiteLlmGuardrailController {
  constructor(
    private readonly authorize: AuthorizeCall,
    private readonly sources: SourceDirectory,
  ) {}

  /**
   * LiteLLM's generic_guardrail_api, which appends this path to its `api_base`. It can pass or block a call, not change it: no cheaper
   * model and no shorter answer is offered here. What it shows of answers passes unread.
   */
  @Post('beta/litellm_basic_guardrail_api')
  @HttpCode(200)
  @RequireScope('authorize', { gatewayAsks: true })
  @ApiBody({ schema: bodySchema(guardrailBody) })
  @ApiOkResponse({ standardSchema: guardrailAnswer })
  async guardrail(@Req() request: FastifyRequest, @CurrentCaller() caller: Caller): Promise<GuardrailAnswer> {
    const body = gatewayJson(request);
    const source = await callerSource(this.sources, caller, BUILT_IN_SOURCES.litellm, 'litellm');
    const question = body === null ? null : readLiteLlmGuardrail(body, source.attribution);
    if (body !== null && question === null) return { action: 'NONE' };
    const outcome = await ask(this.authorize, () => ({
      caller,
      source,
      sourceId: source.sourceId,
      fields: questionFields(question),
      canChange: 'nothing',
      callIdIsAHint: true,
    }));
    return toAction(outcome);
  }
}

/** LiteLLM answers its client with the reason and 400; when to come back has no other place than that sentence. */
function toAction(outcome: Outcome): GuardrailAnswer {
  if (outcome.kind === 'refused') return { action: 'BLOCKED', blocked_reason: `${outcome.problem.code}: ${outcome.problem.detail}` };
  const { decision, reason } = outcome.answer;
  if (decision !== 'block') return { action: 'NONE' };
  const wait = reason.retry_after_ms === null ? '' : `; retry after ${retryAfterSeconds(reason.retry_after_ms)} s`;
  return { action: 'BLOCKED', blocked_reason: `${reason.code}: ${reason.message}${wait}` };
}
