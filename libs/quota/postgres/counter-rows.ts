/**
 * quota.counter, written in the posting transaction: what was used, by budget, period and value. Rows are written in key order, so that two
 * posters never wait for each other in a circle.
 */
import { DAY_MS, HOUR_MS } from '#libs/kernel/index.js';
import { plainArray, textArray } from '#libs/platform/postgres/array-literal.js';
import type { Sql } from '#libs/platform/postgres/database.js';
import type { TenantRules } from '../application/rule-book.js';
import type { Budget } from '../domain/budget.js';
import { bucketMsOf, oldestBucket, type CounterDelta } from '../domain/limit.js';
import { deltasOf, type BookedAmounts } from '../domain/booked-amounts.js';
import type { Span } from '../domain/period.js';

/** What a batch adds to one counter. */
export interface Addition extends BookedAmounts {
  readonly tenantId: string;
  /** What the counter is for, for people. */
  readonly values: Readonly<Record<string, string>>;
}

export interface CounterRow {
  tenant_id: string;
  budget_key: string;
  period_ms: bigint;
  value_key: string;
  used_nano: bigint;
  used_tokens: bigint;
  used_requests: bigint;
}

/** Adds to counters; answers each as it is now, in the order of `additions` sorted by key. */
export async function addToCounters(tx: Sql, additions: readonly Addition[]): Promise<CounterRow[]> {
  if (additions.length === 0) return [];
  return await tx.query<CounterRow>(
    {
      name: 'quota.add-to-counters',
      text: `INSERT INTO quota.counter AS c (tenant_id, budget_key, period_ms, value_key, used_nano, used_tokens, used_requests, expires_ms)
             SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[])
             ON CONFLICT (tenant_id, budget_key, period_ms, value_key) DO UPDATE SET used_nano = c.used_nano + excluded.used_nano,
               used_tokens = c.used_tokens + excluded.used_tokens, used_requests = c.used_requests + excluded.used_requests
             RETURNING tenant_id, budget_key, period_ms, value_key, used_nano, used_tokens, used_requests`,
    },
    [
      textArray(additions.map(({ tenantId }) => tenantId)),
      textArray(additions.map(({ match }) => match.rule.key)),
      plainArray(additions.map(({ periodMs }) => periodMs)),
      textArray(additions.map(({ match }) => match.valueKey)),
      plainArray(additions.map(({ nano }) => nano)),
      plainArray(additions.map(({ tokens }) => tokens)),
      plainArray(additions.map(({ requests }) => requests)),
      plainArray(additions.map(({ match, periodMs }) => expiryOf(match.rule.budget, match.span, periodMs))),
    ],
  );
}

/** When a counter may be forgotten: a sub-bucket an hour after it left its window, a period when no event of it is admitted any more. */
export function expiryOf({ period }: Pick<Budget, 'period'>, span: Span | null, periodMs: number): number | null {
  if (period.kind === 'rolling') return periodMs + 2 * period.seconds * 1_000 + HOUR_MS;
  const endsAtMs = span?.endsAtMs ?? null;
  return endsAtMs === null ? null : endsAtMs + KEPT_MS;
}

/** Removes what nobody asks for any more, in rounds. */
export async function forgetCounters(sql: Sql, now: Date): Promise<void> {
  const rounds = [
    'DELETE FROM quota.counter WHERE ctid = ANY (ARRAY(SELECT ctid FROM quota.counter WHERE expires_ms < $1 LIMIT $2))',
    'DELETE FROM quota.counter_value WHERE ctid = ANY (ARRAY(SELECT ctid FROM quota.counter_value WHERE expires_ms < $1 LIMIT $2))',
    'DELETE FROM quota.rolling_crossing WHERE ctid = ANY (ARRAY(SELECT ctid FROM quota.rolling_crossing WHERE quiet_until_ms < $1 LIMIT $2))',
    'DELETE FROM quota.rolling_watch WHERE ctid = ANY (ARRAY(SELECT ctid FROM quota.rolling_watch WHERE watch_until_ms < $1 LIMIT $2))',
    // A lease is of no use once its period is over, but for the holds of its last calls.
    'DELETE FROM quota.lease_excess WHERE ctid = ANY (ARRAY(SELECT ctid FROM quota.lease_excess WHERE ends_ms < $1 - 86400000 LIMIT $2))',
    'DELETE FROM quota.lease WHERE ctid = ANY (ARRAY(SELECT ctid FROM quota.lease WHERE ends_ms < $1 - 86400000 LIMIT $2))',
    'DELETE FROM quota.lease_pool WHERE ctid = ANY (ARRAY(SELECT ctid FROM quota.lease_pool WHERE ends_ms < $1 - 86400000 LIMIT $2))',
    "DELETE FROM quota.placement WHERE ctid = ANY (ARRAY(SELECT ctid FROM quota.placement WHERE posted_at < to_timestamp($1 / 1000.0) - interval '40 days' LIMIT $2))",
  ];
  for (const round of rounds) while ((await sql.execute(round, [now.getTime(), FORGET_ROUND])) === FORGET_ROUND);
}

const FORGET_ROUND = 10_000;
/** Events are admitted for 35 days. */
const KEPT_MS = 40 * DAY_MS;

/** What counts at `nowMs` of every tenant, by its rules. */
export async function readLiveCounters(sql: Sql, rules: ReadonlyMap<string, TenantRules>, nowMs: number): Promise<Map<string, CounterDelta[]>> {
  const wanted = [...rules].flatMap(([tenantId, { set }]) =>
    set.rules.map((rule) => {
      const { period } = rule.budget;
      const span = set.spanAt(rule.budget, nowMs);
      const from = period.kind === 'rolling' ? oldestBucket(nowMs, bucketMsOf(period.seconds)) : (span?.startsAtMs ?? 0);
      return { tenantId, rule, span, from, to: period.kind === 'rolling' ? Number.MAX_SAFE_INTEGER : from };
    }),
  );
  const found = new Map<string, CounterDelta[]>();
  if (wanted.length === 0) return found;
  const rows = await sql.query<CounterRow & { position: bigint }>(
    {
      name: 'quota.live-counters',
      text: `SELECT n.position, c.* FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[]) WITH ORDINALITY AS n (tenant_id, budget_key, from_ms, to_ms, position)
             JOIN quota.counter c ON c.tenant_id = n.tenant_id AND c.budget_key = n.budget_key AND c.period_ms BETWEEN n.from_ms AND n.to_ms`,
    },
    [
      textArray(wanted.map(({ tenantId }) => tenantId)),
      textArray(wanted.map(({ rule }) => rule.key)),
      plainArray(wanted.map(({ from }) => from)),
      plainArray(wanted.map(({ to }) => to)),
    ],
  );
  for (const row of rows) {
    const of = wanted[Number(row.position) - 1];
    if (!of) continue;
    const deltas = deltasOf({
      match: { rule: of.rule, span: of.span, valueKey: row.value_key },
      periodMs: Number(row.period_ms),
      nano: row.used_nano,
      tokens: row.used_tokens,
      requests: row.used_requests,
    });
    const own = found.get(of.tenantId);
    if (own) own.push(...deltas);
    else found.set(of.tenantId, deltas);
  }
  return found;
}
