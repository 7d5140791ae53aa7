/**
 * The question of LiteLLM's generic_guardrail_api (1.104). It is laid out like a report before it is read, so that a call is asked for
 * under the tenant it will be booked to: the same places in the same order, or those that the source names. What LiteLLM does not send
 * here: metadata of the key and of the body; values of headers other than x-litellm-* and those listed in `extra_headers`.
 */
import { isJsonObject, type Json, type JsonObject } from '#libs/kernel/index.js';
import type { Attribution } from '../domain/spend-event.js';
import { tokensIn } from './call-body.js';
import type { GatewayQuestion } from './gateway-question.js';
import { attributeLiteLlm } from './litellm-attribution.js';
import { idOf, objectAt } from './litellm-fields.js';

/** What LiteLLM writes in place of a value that it does not pass on. */
const WITHHELD = '[present]';
/** LiteLLM takes this header of a call for metadata of its report. */
const METADATA_HEADER = 'x-litellm-spend-logs-metadata';
const MAX_OUTPUT_TOKENS = 1_000_000_000;
const TOKENS_PER_IMAGE = 1_600;

/** The question, or null where LiteLLM shows an answer rather than a request. */
export function readLiteLlmGuardrail(item: JsonObject, attribution: Attribution): GatewayQuestion | null {
  if (item['input_type'] === 'response') return null;
  const settings = objectAt(item, 'additional_provider_specific_params');
  const images = item['images'];
  const read = tokensIn(item['structured_messages'] ?? item['texts'], item['tools']);
  const pictures = Array.isArray(images) ? images.length * TOKENS_PER_IMAGE : 0;
  return {
    ...attributeLiteLlm(asReport(item, settings), attribution),
    callId: idOf(item['litellm_call_id']),
    provider: null,
    model: idOf(item['model']),
    inputTokens: read === null && pictures === 0 ? null : (read ?? 0) + pictures,
    maxOutputTokens: countOf(settings['max_output_tokens']),
  };
}

function asReport(item: JsonObject, settings: JsonObject): JsonObject {
  const key = objectAt(item, 'request_data');
  const headers = Object.entries(objectAt(item, 'request_headers')).flatMap(([name, value]) =>
    typeof value === 'string' && value !== WITHHELD ? [[name, value] as const] : [],
  );
  const written = headers.find(([name]) => name.toLowerCase() === METADATA_HEADER)?.[1];
  return {
    metadata: { ...key, requester_metadata: settings, ...(written === undefined ? {} : { spend_logs_metadata: parsedObject(written) }) },
    request_tags: headers.map(([name, value]) => `${name}: ${value}`),
    ...(typeof key['user_api_key_end_user_id'] === 'string' ? { end_user: key['user_api_key_end_user_id'] } : {}),
    ...(typeof item['litellm_trace_id'] === 'string' ? { trace_id: item['litellm_trace_id'] } : {}),
  };
}

function parsedObject(text: string): JsonObject {
  try {
    const value = JSON.parse(text) as Json;
    return isJsonObject(value) ? value : {};
  } catch {
    return {};
  }
}

function countOf(value: Json | undefined): number | null {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 && value <= MAX_OUTPUT_TOKENS ? value : null;
}
