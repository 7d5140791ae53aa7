/** Rows of quota.hold. */
import { plainArray, textArray } from '#libs/platform/postgres/array-literal.js';
import type { Sql } from '#libs/platform/postgres/database.js';
import { ASK_TERMS, type CallFacts, type Hold, type HoldState, type UnresolvedPolicy } from '../domain/hold.js';

export interface HoldRow {
  hold_id: string;
  tenant_id: string;
  kind: 'call' | 'fence';
  state: HoldState;
  resolution: string | null;
  amount_nano: bigint;
  captured_nano: bigint;
  call_id: string | null;
  call_digest: Buffer | null;
  body_hash: Buffer | null;
  policy: UnresolvedPolicy;
  created_at: Date;
  expires_at: Date;
  resolved_at: Date | null;
  provider: string | null;
  model: string | null;
  requested_model: string | null;
  input_tokens: number | null;
  max_output_tokens: number | null;
  user_id: string | null;
  feature: string | null;
  environment: string | null;
  assistant_id: string | null;
  thread_id: string | null;
  api_key_id: string | null;
  request_id: string | null;
  price_version: string | null;
  tags: Record<string, string> | null;
  source_id: string | null;
  terms: string | null;
}

export function fromHoldRow(row: HoldRow): Hold {
  const facts: CallFacts | null =
    row.kind === 'fence'
      ? null
      : {
          callId: row.call_id,
          provider: row.provider,
          model: row.model,
          requestedModel: row.requested_model,
          inputTokens: row.input_tokens ?? 0,
          maxOutputTokens: row.max_output_tokens ?? 0,
          userId: row.user_id,
          feature: row.feature,
          environment: row.environment ?? 'prod',
          assistantId: row.assistant_id,
          threadId: row.thread_id,
          apiKeyId: row.api_key_id,
          requestId: row.request_id,
          priceVersion: row.price_version,
          tags: row.tags,
          sourceId: row.source_id,
          terms: ASK_TERMS.filter((term) => row.terms?.split(' ').includes(term)),
        };
  return {
    holdId: row.hold_id,
    tenantId: row.tenant_id,
    kind: row.kind,
    state: row.state,
    resolution: row.resolution,
    amountNano: row.amount_nano,
    capturedNano: row.captured_nano,
    capturedTokens: 0n,
    capturedRequests: 0n,
    // Resolved anew by whoever takes the hold up: they follow from what it says about its call and when it was asked.
    claims: [],
    callDigest: row.call_digest?.toString('hex') ?? null,
    bodyHash: row.body_hash?.toString('hex') ?? null,
    policy: row.policy,
    createdAtMs: row.created_at.getTime(),
    expiresAtMs: row.expires_at.getTime(),
    resolvedAtMs: row.resolved_at?.getTime() ?? null,
    facts,
  };
}

/** Whether capture `c` was taken from hold `h`: named by its id, or, without one, by its call. A tenant's events never touch another's hold. */
export const BELONGS_TO_HOLD = `c.tenant_id = h.tenant_id
  AND (c.hold_id = h.hold_id OR (c.hold_id IS NULL AND c.call_digest = h.call_digest AND c.posted_at >= h.created_at))`;

// Ended holds go first: a new hold of the same call must not meet the old one's live row (hold_one_per_call).
const END_HOLDS = {
  name: 'quota.end-holds',
  // The posting transaction marks a charge first; a state noted before it must not undo that.
  text: `UPDATE quota.hold h SET state = n.state, resolution = CASE WHEN n.state = 'unresolved' AND h.resolution = 'charged' THEN 'charged' ELSE n.resolution END,
           captured_nano = CASE WHEN n.state = 'unresolved' AND h.resolution = 'charged' THEN h.captured_nano ELSE n.captured_nano END, resolved_at = to_timestamp(n.resolved_ms / 1000.0)
         FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[], $5::float8[]) AS n (hold_id, state, resolution, captured_nano, resolved_ms)
         WHERE h.hold_id = n.hold_id AND h.state IN ('active', 'unresolved')`,
};

const PUT_HOLDS = {
  name: 'quota.put-holds',
  text: `INSERT INTO quota.hold (hold_id, tenant_id, kind, state, resolution, amount_nano, captured_nano, call_id, call_digest, body_hash, policy, created_at, expires_at,
           resolved_at, provider, model, requested_model, input_tokens, max_output_tokens, user_id, feature, environment, assistant_id, thread_id, api_key_id, request_id, price_version, tags, source_id, terms)
         SELECT hold_id, tenant_id, kind, state, resolution, amount_nano, captured_nano, call_id, call_digest, body_hash, policy, to_timestamp(created_ms / 1000.0),
           to_timestamp(expires_ms / 1000.0), to_timestamp(resolved_ms / 1000.0), provider, model, requested_model, input_tokens, max_output_tokens, user_id, feature, environment,
           assistant_id, thread_id, api_key_id, request_id, price_version, tags, source_id, terms
         FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::bigint[], $8::text[], $9::bytea[], $10::bytea[], $11::text[], $12::float8[], $13::float8[],
           $14::float8[], $15::text[], $16::text[], $17::text[], $18::integer[], $19::integer[], $20::text[], $21::text[], $22::text[], $23::text[], $24::text[], $25::text[], $26::text[], $27::text[], $28::jsonb[], $29::text[], $30::text[])
           AS n (hold_id, tenant_id, kind, state, resolution, amount_nano, captured_nano, call_id, call_digest, body_hash, policy, created_ms, expires_ms, resolved_ms, provider, model,
             requested_model, input_tokens, max_output_tokens, user_id, feature, environment, assistant_id, thread_id, api_key_id, request_id, price_version, tags, source_id, terms)
         ON CONFLICT (hold_id) DO UPDATE SET amount_nano = excluded.amount_nano, captured_nano = excluded.captured_nano, expires_at = excluded.expires_at,
           max_output_tokens = excluded.max_output_tokens
         WHERE quota.hold.state = 'active'`,
};

/** Writes holds as they are now: ended ones are ended, live ones are inserted or refreshed. An ended row is never opened again. */
export async function writeHolds(tx: Sql, ended: readonly Hold[], live: readonly Hold[]): Promise<void> {
  if (ended.length > 0) {
    await tx.execute(END_HOLDS, [
      plainArray(ended.map((hold) => hold.holdId)),
      plainArray(ended.map((hold) => hold.state)),
      textArray(ended.map((hold) => hold.resolution)),
      plainArray(ended.map((hold) => hold.capturedNano)),
      plainArray(ended.map((hold) => hold.resolvedAtMs)),
    ]);
  }
  if (live.length === 0) return;
  const fact = (pick: (facts: CallFacts) => string | null): string => textArray(live.map((hold) => (hold.facts === null ? null : pick(hold.facts))));
  const digest = (value: string | null): string | null => (value === null ? null : `\\x${value}`);
  await tx.execute(PUT_HOLDS, [
    plainArray(live.map((hold) => hold.holdId)),
    textArray(live.map((hold) => hold.tenantId)),
    plainArray(live.map((hold) => hold.kind)),
    plainArray(live.map((hold) => hold.state)),
    textArray(live.map((hold) => hold.resolution)),
    plainArray(live.map((hold) => hold.amountNano)),
    plainArray(live.map((hold) => hold.capturedNano)),
    fact((facts) => facts.callId),
    textArray(live.map((hold) => digest(hold.callDigest))),
    textArray(live.map((hold) => digest(hold.bodyHash))),
    plainArray(live.map((hold) => hold.policy)),
    plainArray(live.map((hold) => hold.createdAtMs)),
    plainArray(live.map((hold) => hold.expiresAtMs)),
    plainArray(live.map((hold) => hold.resolvedAtMs)),
    fact((facts) => facts.provider),
    fact((facts) => facts.model),
    fact((facts) => facts.requestedModel),
    plainArray(live.map((hold) => hold.facts?.inputTokens ?? null)),
    plainArray(live.map((hold) => hold.facts?.maxOutputTokens ?? null)),
    fact((facts) => facts.userId),
    fact((facts) => facts.feature),
    fact((facts) => facts.environment),
    fact((facts) => facts.assistantId),
    fact((facts) => facts.threadId),
    fact((facts) => facts.apiKeyId),
    fact((facts) => facts.requestId),
    fact((facts) => facts.priceVersion),
    fact((facts) => (facts.tags === null ? null : JSON.stringify(facts.tags))),
    fact((facts) => facts.sourceId),
    fact((facts) => (facts.terms.length === 0 ? null : facts.terms.join(' '))),
  ]);
}
