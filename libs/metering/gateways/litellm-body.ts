/**
 * The three ways LiteLLM writes a body (json_array, ndjson under the content type of JSON, single), and the item without content.
 * What a dead letter keeps is chosen field by field: a field nobody listed is dropped, so a new one of LiteLLM cannot leak a prompt.
 * A stripped item reads to the same report as the whole one, so that a dead letter can be replayed.
 */
import { isJsonObject, type Json, type JsonObject } from '#libs/kernel/index.js';
import type { SplitOutcome } from '../domain/spend-event.js';
import { isKeepableName, scalarOf } from './litellm-context.js';
import { objectAt } from './litellm-fields.js';

/** The items of one request body. One line that cannot be parsed refuses the whole body: nothing of it may be stored. */
export function splitLiteLlmBody(rawText: string): SplitOutcome {
  const whole = parse(rawText);
  if (whole.ok) {
    if (Array.isArray(whole.value)) return { ok: true, items: whole.value };
    if (whole.value === null || isJsonObject(whole.value)) return { ok: true, items: [whole.value] };
    return { ok: false, code: 'litellm.body_invalid', message: 'must be a JSON array, one JSON object, or one JSON object per line' };
  }
  const items: Json[] = [];
  let lineNumber = 0;
  for (const line of rawText.split('\n')) {
    lineNumber += 1;
    if (line.trim() === '') continue;
    const parsed = parse(line);
    if (!parsed.ok) return { ok: false, code: 'litellm.body_unparseable', message: `must be JSON or one JSON object per line; line ${lineNumber} is neither` };
    items.push(parsed.value);
  }
  if (items.length === 0) return { ok: false, code: 'litellm.body_unparseable', message: 'must not be empty' };
  return { ok: true, items };
}

function parse(text: string): { ok: true; value: Json } | { ok: false } {
  try {
    return { ok: true, value: JSON.parse(text) as Json };
  } catch {
    return { ok: false };
  }
}

const TOP_LEVEL = [
  'litellm_call_id',
  'call_id',
  'trace_id',
  'session_id',
  'call_type',
  'cache_hit',
  'stream',
  'status',
  'custom_llm_provider',
  'saved_cache_cost',
  'startTime',
  'endTime',
  'completionStartTime',
  'model',
  'response_cost',
  'end_user',
  'model_group',
  'model_id',
  // Of alerts, so that it can be seen what was refused.
  'event',
  'event_group',
] as const;
const METADATA = [
  'user_api_key_hash',
  'user_api_key_alias',
  'user_api_key_team_id',
  'user_api_key_team_alias',
  'user_api_key_org_id',
  'user_api_key_user_id',
  'user_api_key_end_user_id',
  'team_id',
] as const;
const COST_BREAKDOWN = ['original_cost', 'margin_total_amount', 'discount_amount', 'service_tier'] as const;
const ERROR = ['error_class', 'error_code', 'llm_provider', 'error_rate_limit_category'] as const;
const CLIENT_DISCONNECTED = 'Client disconnected the request';
const FIGURE_NAME = /^\w{1,64}$/;
const FIGURE_GROUPS: ReadonlySet<string> = new Set(['prompt_tokens_details', 'completion_tokens_details', 'server_tool_use', 'cache_creation_token_details']);
const MAX_TAGS = 64;
/** Ids of the Responses API carry LiteLLM's own routing data and reach several hundred bytes. */
const MAX_ID_LENGTH = 2_048;
/** Stands for a figure that was there and is none: dropping it would let a replay bill the item without it. */
const UNREADABLE = 'unreadable';
/** Client metadata may nest; paths of a source lead two levels into it. */
const MAX_METADATA_DEPTH = 2;

/** The item with what {@link readLiteLlm} reads and nothing else. Never throws, whatever the item is. */
export function stripLiteLlm(item: Json): Json {
  if (!isJsonObject(item)) return item === null ? null : { stripped: Array.isArray(item) ? 'array' : typeof item };
  const metadata = objectAt(item, 'metadata');
  const response = objectAt(item, 'response');
  const tags = item['request_tags'];
  return withoutEmpty({
    ...scalars(item, TOP_LEVEL),
    id: typeof item['id'] === 'string' && item['id'].length <= MAX_ID_LENGTH ? item['id'] : scalarOf(item['id']),
    prompt_tokens: figureOf(item['prompt_tokens']),
    completion_tokens: figureOf(item['completion_tokens']),
    error_str: item['error_str'] === CLIENT_DISCONNECTED ? CLIENT_DISCONNECTED : null,
    status_fields: scalars(objectAt(item, 'status_fields'), ['guardrail_status']),
    cost_breakdown: scalars(objectAt(item, 'cost_breakdown'), COST_BREAKDOWN),
    error_information: names(objectAt(item, 'error_information'), ERROR),
    model_parameters: scalars(objectAt(item, 'model_parameters'), ['stream'], 'boolean'),
    model_map_information: withoutEmpty({ model_map_value: names(objectAt(objectAt(item, 'model_map_information'), 'model_map_value'), ['key']) }),
    request_tags: Array.isArray(tags) ? tags.slice(0, MAX_TAGS).filter((tag) => scalarOf(tag) !== null) : null,
    response: withoutEmpty({
      ...names(response, ['id', 'model']),
      usage: usageFigures(response['usage']),
      meta: withoutEmpty({ billed_units: figures(objectAt(objectAt(response, 'meta'), 'billed_units')) }),
      data: Array.isArray(response['data']) ? response['data'].map(() => null) : null,
    }),
    metadata: withoutEmpty({
      ...scalars(metadata, METADATA),
      usage_object: usageFigures(metadata['usage_object']),
      user_api_key_auth_metadata: clientMetadata(objectAt(metadata, 'user_api_key_auth_metadata')),
      spend_logs_metadata: clientMetadata(objectAt(metadata, 'spend_logs_metadata')),
      requester_metadata: clientMetadata(objectAt(metadata, 'requester_metadata')),
      vector_store_request_metadata: Array.isArray(metadata['vector_store_request_metadata'])
        ? metadata['vector_store_request_metadata'].map(() => null)
        : null,
    }),
  });
}

/** Stands for a value that was there and cannot be kept: dropping it would let a replay look for the tenant elsewhere. */
const UNUSABLE: Json = [];

function keptValue(value: Json | undefined): Json {
  if (value === undefined || value === null || value === '') return null;
  return scalarOf(value) ?? UNUSABLE;
}

function scalars(parent: JsonObject, keys: readonly string[], type?: 'boolean'): JsonObject {
  const kept: JsonObject = {};
  for (const key of keys) {
    const value = Object.hasOwn(parent, key) ? keptValue(parent[key]) : null;
    if (value !== null && (type === undefined || typeof value === type)) kept[key] = value;
  }
  return kept;
}

/** As {@link scalars}, for places where free text may stand: only what has the form of a name. */
function names(parent: JsonObject, keys: readonly string[]): JsonObject {
  const kept = scalars(parent, keys);
  for (const key of keys) {
    const value = kept[key];
    if (typeof value === 'string' && /\s/.test(value)) delete kept[key];
  }
  return kept;
}

function clientMetadata(container: JsonObject, depth = 0): JsonObject {
  const kept: JsonObject = {};
  for (const [name, value] of Object.entries(container)) {
    if (!isKeepableName(name)) continue;
    const keptHere = isJsonObject(value) && depth < MAX_METADATA_DEPTH ? clientMetadata(value, depth + 1) : keptValue(value);
    if (keptHere !== null) kept[name] = keptHere;
  }
  return kept;
}

/** Usage objects nest two levels; only numbers and a few words of the provider's are figures. */
function usageFigures(value: Json | undefined): Json {
  if (value === undefined || value === null) return null;
  if (!isJsonObject(value)) return UNREADABLE;
  const kept: JsonObject = { ...figures(value), ...names(value, ['type', 'service_tier', 'inference_geo', 'speed']) };
  for (const group of ['prompt_tokens_details', 'completion_tokens_details', 'server_tool_use']) {
    if (isUnreadableGroup(value[group])) kept[group] = UNREADABLE;
    if (!isJsonObject(value[group])) continue;
    const details = objectAt(value, group);
    const split = figures(objectAt(details, 'cache_creation_token_details'));
    kept[group] = withoutEmpty({
      ...figures(details),
      cache_creation_token_details: isUnreadableGroup(details['cache_creation_token_details']) ? UNREADABLE : split,
    });
  }
  return withoutEmpty(kept);
}

function isUnreadableGroup(value: Json | undefined): boolean {
  return value !== undefined && value !== null && !isJsonObject(value);
}

function figures(parent: JsonObject): JsonObject {
  const kept: JsonObject = {};
  for (const [name, value] of Object.entries(parent)) {
    const figure = figureOf(value);
    if (figure !== null && !FIGURE_GROUPS.has(name) && FIGURE_NAME.test(name) && name !== '__proto__') kept[name] = figure;
  }
  return kept;
}

/** A number as it is, an absent one as null. */
function figureOf(value: Json | undefined): Json {
  if (value === undefined || value === null) return null;
  return typeof value === 'number' && Number.isFinite(value) ? value : UNREADABLE;
}

/** Empty groups are left out; a null is as good as an absent field. An empty usage object stays: it says that nothing was counted. */
function withoutEmpty(fields: { [key: string]: Json }): JsonObject {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null && !(isJsonObject(value) && Object.keys(value).length === 0)));
}
