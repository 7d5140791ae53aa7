/**
 * Reads one StandardLoggingPayload, the object LiteLLM's `generic_api` callback sends per call, as a spend report.
 * Guarantees: one event id per call that survives resends and cache hits, one per attempt for failures; no prompt, answer, parameter or
 * traceback in the result; a figure that money depends on is either read exactly or the item is refused; nothing throws.
 * Written against LiteLLM 1.104.0 run for real; what it does differently from its documentation stands in deploy/litellm/README.md.
 */
import { createHash } from 'node:crypto';
import { fromWireId, isExternalId, isJsonObject, type Json, type JsonObject } from '#libs/kernel/index.js';
import type { Attribution, ReadOutcome, SpendReport, SpendStatus } from '../domain/spend-event.js';
import { attributeLiteLlm, type Attributed } from './litellm-attribution.js';
import { readMetadata, readTags } from './litellm-context.js';
import { idOf, nameAt, numberAt, objectAt, textAt, UnreadableFigure } from './litellm-fields.js';
import { readClaimedCost, readUsage, type CallOutcome } from './litellm-usage.js';

export { attributionPathProblem, LITELLM_ATTRIBUTION } from './litellm-attribution.js';
export { splitLiteLlmBody, stripLiteLlm } from './litellm-body.js';

/** Reads one item of a LiteLLM body. `attribution` replaces default paths field by field. */
export function readLiteLlm(item: Json, attribution: Attribution): ReadOutcome {
  const refusal = refusalOf(item);
  if (refusal) return refusal;
  const payload = item as JsonObject;
  const outcome = outcomeOf(payload);
  const externalId = externalIdOf(payload);
  try {
    return { ok: true, report: reportOf(payload, attribution, outcome, externalId) };
  } catch (error) {
    if (!(error instanceof UnreadableFigure)) throw error;
    return { ok: false, code: 'litellm.invalid_field', path: error.path.replace(/^\./, ''), message: error.rule, externalId };
  }
}

/** Shapes that are no call, each with its own answer, so that an operator sees what to change. */
function refusalOf(item: Json): ReadOutcome | null {
  const refuse = (code: string, path: string, message: string): ReadOutcome => ({ ok: false, code, path, message, externalId: null });
  if (item === null) return refuse('litellm.null_item', '', 'LiteLLM could not build this payload and sent null; the call itself is lost');
  if (!isJsonObject(item)) return refuse('litellm.not_an_object', '', 'must be one StandardLoggingPayload object');
  if (typeof item['event'] === 'string' && 'event_group' in item) {
    return refuse(
      'litellm.budget_alert',
      'event',
      'is an alert of LiteLLM, which names no call and is never metered; send the generic_api callback here instead',
    );
  }
  if (typeof item['startTime'] === 'string' && ('modelParameters' in item || typeof item['usage'] === 'string')) {
    return refuse('litellm.v1_payload', '', 'is the old payload with every value as text; remove generic_api_use_v1 from litellm_settings');
  }
  if (idText(item) === null) return refuse('litellm.invalid_field', 'id', 'must be a text that is not empty');
  if (item['status'] !== 'success' && item['status'] !== 'failure') return refuse('litellm.invalid_field', 'status', 'must be "success" or "failure"');
  if (numberAt(item, 'startTime') === null) return refuse('litellm.invalid_field', 'startTime', 'must be a number of Unix seconds');
  return null;
}

function idText(item: JsonObject): string | null {
  const id = item['id'];
  return typeof id === 'number' && Number.isSafeInteger(id) ? String(id) : textAt(item, 'id');
}

/**
 * A call's id is the provider's response id (LiteLLM adds a suffix for its own cache); attempts of a failed call share one id, so the
 * start of the attempt makes each its own event. Ids too long for our column (the Responses API's) are replaced by their digest.
 */
function externalIdOf(item: JsonObject): string {
  const id = `litellm:${idText(item)}${item['status'] === 'failure' ? `:${numberAt(item, 'startTime')}` : ''}`;
  return isExternalId(id) ? id : `litellm:sha256:${createHash('sha256').update(id).digest('hex')}`;
}

const CLIENT_DISCONNECTED = 'Client disconnected the request';
/** Error classes of the proxy itself: a hook, a budget, a guardrail, never a provider. */
const PROXY_REFUSAL = /^HTTPException$|Budget|Guardrail/;

function outcomeOf(item: JsonObject): CallOutcome {
  if (item['cache_hit'] === true) return 'gateway_cache';
  const error = objectAt(item, 'error_information');
  if (item['status'] === 'success') {
    return item['error_str'] === CLIENT_DISCONNECTED || error['error_class'] === 'ClientDisconnected' ? 'cut_short' : 'answered';
  }
  // A refusal names no provider in its error, even where LiteLLM had picked a deployment already.
  const refusedByProxy = textAt(error, 'llm_provider') === null && (PROXY_REFUSAL.test(textAt(error, 'error_class') ?? '') || guardrailIntervened(item));
  return refusedByProxy && (numberAt(item, 'response_cost') ?? 0) <= 0 ? 'refused_by_proxy' : 'failed';
}

function guardrailIntervened(item: JsonObject): boolean {
  return objectAt(item, 'status_fields')['guardrail_status'] === 'guardrail_intervened';
}

function statusOf(outcome: CallOutcome): SpendStatus {
  switch (outcome) {
    case 'answered':
    case 'gateway_cache':
      return 'success';
    case 'cut_short':
      return 'cancelled';
    case 'refused_by_proxy':
      return 'blocked';
    case 'failed':
      return 'error';
  }
}

function reportOf(item: JsonObject, attribution: Attribution, outcome: CallOutcome, externalId: string): SpendReport {
  const claimedCostNano = readClaimedCost(item, outcome);
  const { usage, quality, inconsistent } = readUsage(item, outcome, claimedCostNano);
  const who = attributeLiteLlm(item, attribution);
  if (who.unusable.includes('tenant_id'))
    throw new UnreadableFigure('tenant_id', 'must be 1 to 128 bytes of printable NFC text without leading or trailing space');
  const provider = nameAt(item, 'custom_llm_provider');
  const requestedModel = nameAt(item, 'model_group');
  const claimsCall = outcome === 'answered' || outcome === 'cut_short';
  const stream = item['stream'] === true || objectAt(item, 'model_parameters')['stream'] === true;
  return {
    externalId,
    ...identityOf(who),
    callId: idOf(item['litellm_call_id']) ?? idOf(item['call_id']),
    // The answer a cache hit repeats belongs to another call.
    providerResponseId: claimsCall ? responseIdOf(item) : null,
    tags: readTags(item['request_tags']),
    provider,
    model: modelOf(item, provider, requestedModel),
    requestedModel,
    usage,
    quality,
    claimedCostNano,
    ...timesOf(item, stream),
    stream,
    status: statusOf(outcome),
    error: errorOf(item),
    metadata: readMetadata(item, { inconsistent, unusable: who.unusable }),
    claimsCall,
  };
}

function identityOf(
  who: Attributed,
): Pick<SpendReport, 'tenantId' | 'userId' | 'feature' | 'environment' | 'assistantId' | 'threadId' | 'apiKeyId' | 'requestId' | 'holdId'> {
  const { found } = who;
  return {
    tenantId: found.tenant_id ?? null,
    userId: found.user_id ?? null,
    feature: found.feature ?? null,
    environment: found.environment ?? null,
    assistantId: found.assistant_id ?? null,
    threadId: found.thread_id ?? null,
    apiKeyId: found.api_key_id ?? null,
    requestId: found.request_id ?? null,
    holdId: found.hold_id !== undefined && fromWireId('hold', found.hold_id) !== null ? found.hold_id : null,
  };
}

function responseIdOf(item: JsonObject): string | null {
  const id = nameAt(objectAt(item, 'response'), 'id') ?? nameAt(item, 'id');
  return id === textAt(item, 'litellm_call_id') ? null : id;
}

/**
 * The model that ran, as its provider names it. LiteLLM prefixes the deployment with the provider; Azure deployments are named by
 * their owner, so there the base model counts; for "-latest" the answer says which version ran, unless LiteLLM wrote the alias there.
 */
function modelOf(item: JsonObject, provider: string | null, requestedModel: string | null): string | null {
  const deployment = nameAt(item, 'model');
  if (deployment === null) return null;
  const model = withoutProvider(deployment, provider);
  if (provider?.startsWith('azure')) {
    const base = nameAt(objectAt(objectAt(item, 'model_map_information'), 'model_map_value'), 'key');
    return base === null ? model : withoutProvider(base, provider);
  }
  if (!model.endsWith('-latest')) return model;
  const answered = nameAt(objectAt(item, 'response'), 'model');
  return answered === null || answered === requestedModel ? model : withoutProvider(answered, provider);
}

function withoutProvider(model: string, provider: string | null): string {
  if (provider === null || !model.startsWith(`${provider}/`) || model.length === provider.length + 1) return model;
  const bare = model.slice(provider.length + 1);
  // Bedrock's route ("bedrock/converse/<model>") is no part of its model's name.
  return provider === 'bedrock' ? bare.replace(/^(?:converse|invoke)\//, '') || bare : bare;
}

/** The widest time a JavaScript date can hold, in seconds. */
const MAX_UNIX_SECONDS = 8_640_000_000_000;
/** Durations are stored as 32-bit integers. */
const MAX_DURATION_MS = 2_147_483_647;

function timesOf(item: JsonObject, stream: boolean): Pick<SpendReport, 'occurredAt' | 'latencyMs' | 'ttftMs'> {
  const start = numberAt(item, 'startTime') ?? Number.NaN;
  if (!(start > 0 && start <= MAX_UNIX_SECONDS)) throw new UnreadableFigure('startTime', 'must be Unix seconds after 1970');
  const durationUntil = (at: number | null): number | null => {
    const duration = at === null ? -1 : Math.round((at - start) * 1000);
    return duration >= 0 && duration <= MAX_DURATION_MS ? duration : null;
  };
  return {
    occurredAt: new Date(Math.round(start * 1000)),
    latencyMs: durationUntil(numberAt(item, 'endTime')),
    // `response_time` means one thing for streams and another for the rest; these two times do not.
    ttftMs: stream ? durationUntil(numberAt(item, 'completionStartTime')) : null,
  };
}

/** Class and code only: LiteLLM's error text may quote the prompt. */
function errorOf(item: JsonObject): string | null {
  const error = objectAt(item, 'error_information');
  const parts = [nameAt(error, 'error_class'), nameAt(error, 'error_code')].filter((part) => part !== null);
  return parts.length === 0 ? null : parts.join(' ');
}
