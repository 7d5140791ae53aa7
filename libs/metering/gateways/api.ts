/**
 * Our own event, `POST /v1/events`: strict, because a field that is misspelt here is money that is not attributed.
 * Money is a decimal string, tokens are integers, an unknown field is refused by name; a message never repeats the sender's value.
 */
import { EXTERNAL_ID_RULE, isExternalId, isJsonObject, moneyRule, parseRfc3339, tryParseUsd, type Json, type JsonObject } from '#libs/kernel/index.js';
import { USAGE_POOLS, type Usage } from '#libs/pricing/index.js';
import { z } from 'zod';
import type { ReadOutcome, SpendReport } from '../domain/spend-event.js';
import { readPlainEvent } from './plain-event.js';

const MAX_QUANTITY = 1_000_000_000;
const MAX_INT4 = 2_147_483_647;
const MAX_SCALAR_BYTES = 256;
const MAX_METADATA_BYTES = 4_096;
const MAX_ENTRIES = 50;
// Text that PostgreSQL or a terminal would choke on: NUL and other control characters, lone surrogates, zero-width marks.
const UNPRINTABLE = /[\p{C}\p{Zl}\p{Zp}]/u;

const externalId = z.string({ error: 'must be a string' }).refine(isExternalId, { error: EXTERNAL_ID_RULE });
const shortText = z
  .string({ error: 'must be a string' })
  .refine((text) => !UNPRINTABLE.test(text), { error: 'must be printable text' })
  .refine((text) => Buffer.byteLength(text) <= MAX_SCALAR_BYTES, { error: `must be at most ${MAX_SCALAR_BYTES} bytes` });
const quantity = z.int({ error: 'must be an integer' }).min(0, { error: 'must not be negative' }).max(MAX_QUANTITY, { error: 'must be at most 1,000,000,000' });
const durationMs = z.int({ error: 'must be an integer' }).min(0, { error: 'must not be negative' }).max(MAX_INT4, { error: 'must be at most 2,147,483,647' });
const usd = z.string({ error: 'must be a decimal string in USD, never a JSON number' }).transform((text, context) => {
  const parsed = tryParseUsd(text);
  if (parsed.ok && parsed.nano >= 0n) return parsed.nano;
  context.addIssue({ code: 'custom', message: parsed.ok ? 'must not be negative' : moneyRule(parsed.problem) });
  return z.NEVER;
});
const time = z.string({ error: 'must be an RFC 3339 time' }).transform((text, context) => {
  const at = parseRfc3339(text);
  if (at !== null) return at;
  context.addIssue({ code: 'custom', message: 'must be an RFC 3339 time such as 2026-11-22T09:30:00Z' });
  return z.NEVER;
});
const atMost = <T extends object>(record: T): boolean => Object.keys(record).length <= MAX_ENTRIES;
const tooMany = { error: `must have at most ${MAX_ENTRIES} entries` };

const usageSchema = z
  .strictObject({
    ...(Object.fromEntries(USAGE_POOLS.map((pool) => [pool, quantity.optional()])) as Record<(typeof USAGE_POOLS)[number], z.ZodOptional<typeof quantity>>),
    meters: z.record(externalId, quantity).refine(atMost, tooMany).optional(),
  })
  .refine((usage) => (usage.reasoning_tokens ?? 0) <= (usage.output_tokens ?? 0), {
    error: 'must be at most output_tokens, which include it',
    path: ['reasoning_tokens'],
  });

/** What a sender may write; also the source of the OpenAPI document. */
export const spendEventSchema = z.strictObject({
  event_id: externalId.describe('Unique per source; a repeat with the same figures is a duplicate'),
  occurred_at: time.optional(),
  tenant_id: externalId.nullish(),
  call_id: externalId.nullish(),
  hold_id: externalId.nullish(),
  user_id: externalId.nullish(),
  feature: externalId.nullish(),
  environment: externalId.nullish(),
  assistant_id: externalId.nullish(),
  thread_id: externalId.nullish(),
  api_key_id: externalId.nullish(),
  request_id: externalId.nullish(),
  tags: z.record(externalId, shortText).refine(atMost, tooMany).nullish(),
  provider: externalId.nullish(),
  model: externalId.nullish(),
  requested_model: externalId.nullish(),
  usage: usageSchema.nullish(),
  usage_quality: z
    .enum(['exact', 'drained', 'lookup', 'partial', 'tokenizer', 'estimated'], {
      error: 'must be one of exact, drained, lookup, partial, tokenizer, estimated',
    })
    .optional(),
  cost_usd: usd.nullish(),
  latency_ms: durationMs.nullish(),
  ttft_ms: durationMs.nullish(),
  stream: z.boolean({ error: 'must be true or false' }).nullish(),
  status: z.enum(['success', 'error', 'cancelled', 'blocked'], { error: 'must be one of success, error, cancelled, blocked' }).optional(),
  error: shortText.nullish(),
  metadata: z
    .record(externalId, z.union([shortText, z.number(), z.boolean()], { error: 'must be text, a number, true or false' }))
    .refine(atMost, tooMany)
    .refine((metadata) => Buffer.byteLength(JSON.stringify(metadata)) <= MAX_METADATA_BYTES, { error: `must be at most ${MAX_METADATA_BYTES} bytes` })
    .nullish(),
});

const KNOWN_FIELDS = new Set(Object.keys(spendEventSchema.shape));

/** Reads one item of `POST /v1/events`. Never throws. */
export function readApiEvent(item: Json): ReadOutcome {
  const plain = readPlainEvent(item);
  return plain === null ? readBySchema(item) : { ok: true, report: plain };
}

/** The full reading: every field, every rule, every message. */
export function readBySchema(item: Json): ReadOutcome {
  const parsed = spendEventSchema.safeParse(item);
  if (!parsed.success) return refusal(item, parsed.error);
  const event = parsed.data;
  const usage = event.usage ?? null;
  const status = event.status ?? 'success';
  const report: SpendReport = {
    externalId: event.event_id,
    occurredAt: event.occurred_at ?? null,
    tenantId: event.tenant_id ?? null,
    callId: event.call_id ?? null,
    holdId: event.hold_id ?? null,
    providerResponseId: null,
    userId: event.user_id ?? null,
    feature: event.feature ?? null,
    environment: event.environment ?? null,
    assistantId: event.assistant_id ?? null,
    threadId: event.thread_id ?? null,
    apiKeyId: event.api_key_id ?? null,
    requestId: event.request_id ?? null,
    tags: event.tags ?? null,
    provider: event.provider ?? null,
    model: event.model ?? null,
    requestedModel: event.requested_model ?? null,
    usage: usage as Usage | null,
    quality: usage === null ? 'unknown' : (event.usage_quality ?? 'exact'),
    claimedCostNano: event.cost_usd ?? null,
    latencyMs: event.latency_ms ?? null,
    ttftMs: event.ttft_ms ?? null,
    stream: event.stream ?? null,
    status,
    error: event.error ?? null,
    metadata: event.metadata ?? null,
    // Retries of one request share its call id: a failed attempt must not take the place of the one that succeeded.
    claimsCall: status === 'success' || status === 'cancelled',
  };
  return { ok: true, report };
}

/** The item as a dead letter keeps it: known fields whole, of an unknown one the name alone, since it may hold a prompt. */
export function stripApiEvent(item: Json): Json {
  if (!isJsonObject(item)) return { not_an_object: typeof item };
  const kept: JsonObject = {};
  for (const [name, value] of Object.entries(item)) kept[name] = KNOWN_FIELDS.has(name) ? boundText(value, 0) : null;
  return kept;
}

function boundText(value: Json, depth: number): Json {
  if (typeof value === 'string') return value.slice(0, MAX_SCALAR_BYTES);
  if (depth >= 3) return null;
  if (Array.isArray(value)) return value.slice(0, MAX_ENTRIES).map((entry) => boundText(entry, depth + 1));
  if (!isJsonObject(value)) return value;
  return Object.fromEntries(
    Object.entries(value)
      .slice(0, MAX_ENTRIES)
      .map(([name, entry]) => [name.slice(0, MAX_SCALAR_BYTES), boundText(entry, depth + 1)]),
  );
}

function refusal(item: Json, error: z.ZodError): ReadOutcome {
  const issue = error.issues[0];
  const unknownField = issue?.code === 'unrecognized_keys' ? issue.keys[0] : undefined;
  const path = [...(issue?.path ?? []), ...(unknownField === undefined ? [] : [unknownField])].join('.');
  const given = isJsonObject(item) ? item['event_id'] : null;
  return {
    ok: false,
    code: unknownField === undefined ? 'event.invalid' : 'event.unknown_field',
    path,
    message: unknownField === undefined ? (issue?.message ?? 'is not a spend event') : 'is not a field of a spend event',
    externalId: typeof given === 'string' ? given : null,
  };
}
