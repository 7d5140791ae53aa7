/**
 * The quick way through `POST /v1/events`: reads an event whose every field is plainly right, and gives up (null) on anything else, which
 * the schema in api.ts then judges and explains. It accepts nothing that the schema refuses and reads it to the same report
 * (api.spec.ts compares the two on random events); the schema alone took a third of the whole ingest path.
 */
import { isExternalId, isJsonObject, parseRfc3339, tryParseUsd, type Json, type JsonObject } from '#libs/kernel/index.js';
import { USAGE_POOLS, type Usage } from '#libs/pricing/index.js';
import type { SpendReport, SpendStatus, UsageQuality } from '../domain/spend-event.js';

const MAX_QUANTITY = 1_000_000_000;
const MAX_DURATION_MS = 2_147_483_647;
const POOLS: ReadonlySet<string> = new Set(USAGE_POOLS);
const STATUSES: ReadonlySet<Json | undefined> = new Set(['success', 'error', 'cancelled', 'blocked']);
const QUALITIES: ReadonlySet<Json | undefined> = new Set(['exact', 'drained', 'lookup', 'partial', 'tokenizer', 'estimated']);

type Fields = { -readonly [Field in keyof SpendReport]: SpendReport[Field] };

const ID_FIELDS: ReadonlyMap<string, keyof Fields> = new Map([
  ['event_id', 'externalId'],
  ['tenant_id', 'tenantId'],
  ['call_id', 'callId'],
  ['hold_id', 'holdId'],
  ['user_id', 'userId'],
  ['feature', 'feature'],
  ['environment', 'environment'],
  ['assistant_id', 'assistantId'],
  ['thread_id', 'threadId'],
  ['api_key_id', 'apiKeyId'],
  ['request_id', 'requestId'],
  ['provider', 'provider'],
  ['model', 'model'],
  ['requested_model', 'requestedModel'],
]);

/** The report of a plain event, or null where the schema has to look. */
export function readPlainEvent(item: Json): SpendReport | null {
  if (!isJsonObject(item)) return null;
  const fields = emptyFields();
  let quality: UsageQuality = 'exact';
  for (const name in item) {
    const value = item[name];
    const idField = ID_FIELDS.get(name);
    if (idField !== undefined) {
      if (typeof value !== 'string' || !isExternalId(value)) return null;
      (fields[idField] as string) = value;
    } else if (name === 'usage_quality') {
      if (!QUALITIES.has(value)) return null;
      quality = value as UsageQuality;
    } else if (!readOther(fields, name, value)) return null;
  }
  if (fields.externalId === '') return null;
  fields.quality = fields.usage === null ? 'unknown' : quality;
  fields.claimsCall = fields.status === 'success' || fields.status === 'cancelled';
  return fields;
}

function readOther(fields: Fields, name: string, value: Json | undefined): boolean {
  switch (name) {
    case 'occurred_at':
      fields.occurredAt = typeof value === 'string' ? parseRfc3339(value) : null;
      return fields.occurredAt !== null;
    case 'usage':
      fields.usage = isJsonObject(value) ? plainUsage(value) : null;
      return fields.usage !== null;
    case 'cost_usd': {
      const parsed = typeof value === 'string' ? tryParseUsd(value) : null;
      fields.claimedCostNano = parsed?.ok === true && parsed.nano >= 0n ? parsed.nano : null;
      return fields.claimedCostNano !== null;
    }
    case 'latency_ms':
      fields.latencyMs = quantityOf(value, MAX_DURATION_MS);
      return fields.latencyMs !== null;
    case 'ttft_ms':
      fields.ttftMs = quantityOf(value, MAX_DURATION_MS);
      return fields.ttftMs !== null;
    case 'stream':
      fields.stream = typeof value === 'boolean' ? value : null;
      return fields.stream !== null;
    case 'status':
      if (!STATUSES.has(value)) return false;
      fields.status = value as SpendStatus;
      return true;
    default:
      return false;
  }
}

/** Pools alone; meters and inconsistent reasoning are the schema's. */
function plainUsage(usage: JsonObject): Usage | null {
  for (const name in usage) if (!POOLS.has(name) || quantityOf(usage[name], MAX_QUANTITY) === null) return null;
  const pools = usage as Usage;
  return (pools.reasoning_tokens ?? 0) <= (pools.output_tokens ?? 0) ? pools : null;
}

function quantityOf(value: Json | undefined, max: number): number | null {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= max ? value : null;
}

function emptyFields(): Fields {
  return {
    externalId: '',
    occurredAt: null,
    tenantId: null,
    callId: null,
    holdId: null,
    providerResponseId: null,
    userId: null,
    feature: null,
    environment: null,
    assistantId: null,
    threadId: null,
    apiKeyId: null,
    requestId: null,
    tags: null,
    provider: null,
    model: null,
    requestedModel: null,
    usage: null,
    quality: 'unknown',
    claimedCostNano: null,
    latencyMs: null,
    ttftMs: null,
    stream: null,
    status: 'success',
    error: null,
    metadata: null,
    claimsCall: true,
  };
}
