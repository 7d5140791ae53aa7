import { Controller, HttpCode, Post, Req } from '@nestjs/common';
import { ApiBody, ApiOkResponse, ApiTags } from '@nestjs/swagger';
import type { FastifyRequest } from 'fastify';
import type { JsonObject } from '#libs/kernel/index.js';
import { changedCall, readPortkeyHook, SourceDirectory } from '#libs/metering/index.js';
import { AuthorizeCall } from '#libs/quota/index.js';
import type { Caller } from '#libs/tenancy/index.js';
import { CurrentCaller, RequireScope } from '../../http/access.js';
import { bodySchema } from '../../http/openapi.js';
import { ask, sourceOf, type Answer, type Outcome } from './ask.js';
import { portkeyAnswer, portkeyBody, type PortkeyAnswer } from './dialects.schemas.js';
import { gatewayJson, questionFields } from './gateway-json.js';

@ApiTags('authorize')
@Controller('v1/authorize')
export class PortkeyController {
  constructor(
    private readonly authorize: AuthorizeCall,
    private readonly sources: SourceDirectory,
  ) {}

  /**
   * Portkey's webhook check before a request. A downgrade comes as the request to send instead, to the same provider, because Portkey has
   * chosen that already. It asks again for each target of a fallback; what it shows after a request passes unread.
   */
  @Post('portkey')
  @HttpCode(200)
  @RequireScope('authorize', { gatewayAsks: true })
  @ApiBody({ schema: bodySchema(portkeyBody) })
  @ApiOkResponse({ standardSchema: portkeyAnswer })
  async portkey(@Req() request: FastifyRequest, @CurrentCaller() caller: Caller): Promise<PortkeyAnswer> {
    const hook = gatewayJson(request);
    const question = hook === null ? null : readPortkeyHook(hook);
    if (hook !== null && question === null) return { verdict: true };
    const source = await sourceOf(this.sources, caller);
    const outcome = await ask(this.authorize, () => ({
      caller,
      source,
      sourceId: caller.sourceId ?? '',
      fields: questionFields(question),
      canChange: question?.body ? 'same_provider' : 'nothing',
      callIdIsAHint: true,
    }));
    return toVerdict(outcome, question?.body ?? null);
  }
}

function toVerdict(outcome: Outcome, body: JsonObject | null): PortkeyAnswer {
  if (outcome.kind === 'refused') {
    const { code, detail, retryAfterMs } = outcome.problem;
    const reason = { code, message: detail, retry_after_ms: retryAfterMs ?? null };
    return { verdict: false, data: { decision: 'block', reason, model: null, max_output_tokens: null, hold_id: null } };
  }
  const { answer } = outcome;
  const { code, message, retry_after_ms } = answer.reason;
  const data = {
    decision: answer.decision,
    reason: { code, message, retry_after_ms },
    model: answer.model,
    max_output_tokens: answer.max_output_tokens,
    hold_id: answer.hold?.hold_id ?? null,
  };
  if (answer.decision === 'block') return { verdict: false, data };
  const json = body === null ? null : changed(body, answer);
  return { verdict: true, data, ...(json === null ? {} : { transformedData: { request: { json } } }) };
}

/** The request to send instead, or null where it may be sent as it is. */
function changed(body: JsonObject, answer: Answer): JsonObject | null {
  const to = { model: answer.decision === 'downgrade' ? answer.model : null, maxOutputTokens: answer.hold === null ? null : answer.max_output_tokens };
  const json = changedCall(body, to);
  return JSON.stringify(json) === JSON.stringify(body) ? null : json;
}
