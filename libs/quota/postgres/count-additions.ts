/**
 * Adds a posting batch to the durable counters, and what follows: values seen for the first time are named, budgets that are still being
 * back-filled get their additions put aside, and a counter that passed a threshold leaves a crossing, once per period whatever restarts.
 */
import { formatUsd, newUuid } from '#libs/kernel/index.js';
import { appendOutbox } from '#libs/platform/outbox/outbox.js';
import { plainArray, textArray, timeArray } from '#libs/platform/postgres/array-literal.js';
import type { Sql } from '#libs/platform/postgres/database.js';
import { isShared, percentOf } from '../domain/budget.js';
import type { Metric } from '../domain/limit.js';
import { ALL_VALUES, limitsOf, MAX_COUNTERS, OTHER_VALUES, slotMsOf } from '../domain/match-budgets.js';
import { addToCounters, expiryOf, type Addition, type CounterRow } from './counter-rows.js';
import { leaveShared } from './leave-shared.js';

export const CROSSED_TOPIC = 'quota.crossed';

interface Crossed {
  readonly crossingId: string;
  readonly addition: Addition;
  readonly metric: Exclude<Metric, 'concurrent'>;
  readonly percent: number;
  readonly action: string;
  readonly limit: bigint;
  readonly used: bigint;
}

export async function countAdditions(tx: Sql, additions: readonly Addition[], seqs: ReadonlyMap<string, bigint>, at: Date): Promise<void> {
  if (additions.length === 0) return;
  await putAside(
    tx,
    additions.filter(({ match }) => match.rule.budget.warming),
    seqs,
  );
  const counted = additions.filter(({ match }) => !match.rule.budget.warming);
  const rows = await addToCounters(tx, counted);
  // What all tenants share is named, and crosses its thresholds, when it is added up.
  const own = counted.filter(({ match }) => !isShared(match.rule.budget));
  await nameValues(tx, own);
  await noteCrossings(tx, crossingsOf(own, rows, at), at);
  await leaveShared(tx, counted, rows, at);
}

/** Adds to the sums of shared budgets, which are counters of tenant ''. */
export async function countShared(tx: Sql, additions: readonly Addition[], at: Date): Promise<void> {
  const rows = await addToCounters(tx, additions);
  await nameValues(tx, additions);
  await noteCrossings(tx, crossingsOf(additions, rows, at), at);
}

async function putAside(tx: Sql, additions: readonly Addition[], seqs: ReadonlyMap<string, bigint>): Promise<void> {
  if (additions.length === 0) return;
  await tx.execute(
    `INSERT INTO quota.warming_delta (tenant_id, budget_key, seq, period_ms, value_key, "values", used_nano, used_tokens, used_requests, expires_ms)
     SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::text[], $6::jsonb[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[])`,
    [
      textArray(additions.map(({ tenantId }) => tenantId)),
      textArray(additions.map(({ match }) => match.rule.key)),
      plainArray(additions.map(({ tenantId }) => seqs.get(tenantId) ?? 0n)),
      plainArray(additions.map(({ periodMs }) => periodMs)),
      textArray(additions.map(({ match }) => match.valueKey)),
      textArray(additions.map(({ values }) => JSON.stringify(values))),
      plainArray(additions.map(({ nano }) => nano)),
      plainArray(additions.map(({ tokens }) => tokens)),
      plainArray(additions.map(({ requests }) => requests)),
      plainArray(additions.map(({ match, periodMs }) => expiryOf(match.rule.budget, match.span, periodMs))),
    ],
  );
}

/** Values that got a counter; where the last one with room came, every process has to know who shares one from now on. */
async function nameValues(tx: Sql, additions: readonly Addition[]): Promise<void> {
  const named = additions.filter(({ match }) => match.valueKey !== ALL_VALUES && match.valueKey !== OTHER_VALUES);
  if (named.length === 0) return;
  const slots = named.map(({ match, periodMs }) => slotMsOf(match.rule.budget, match.span, periodMs));
  const added = await tx.query<{ tenant_id: string; budget_key: string; slot_ms: bigint }>(
    {
      name: 'quota.name-values',
      text: `INSERT INTO quota.counter_value (tenant_id, budget_key, slot_ms, value_key, "values", expires_ms)
             SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::jsonb[], $6::bigint[]) ON CONFLICT DO NOTHING RETURNING tenant_id, budget_key, slot_ms`,
    },
    [
      textArray(named.map(({ tenantId }) => tenantId)),
      textArray(named.map(({ match }) => match.rule.key)),
      plainArray(slots),
      textArray(named.map(({ match }) => match.valueKey)),
      textArray(named.map(({ values }) => JSON.stringify(values))),
      plainArray(named.map(({ match }, index) => expiryOf(match.rule.budget, match.span, slots[index] ?? 0))),
    ],
  );
  if (added.length === 0) return;
  const full = await tx.query<{ tenant_id: string }>(
    `SELECT DISTINCT n.tenant_id FROM unnest($1::text[], $2::text[], $3::bigint[]) AS n (tenant_id, budget_key, slot_ms)
     WHERE (SELECT count(*) FROM (SELECT FROM quota.counter_value v WHERE v.tenant_id = n.tenant_id AND v.budget_key = n.budget_key AND v.slot_ms = n.slot_ms LIMIT $4) v) = $4`,
    [textArray(added.map((row) => row.tenant_id)), textArray(added.map((row) => row.budget_key)), plainArray(added.map((row) => row.slot_ms)), MAX_COUNTERS],
  );
  for (const { tenant_id: tenantId } of full) await raiseRevision(tx, tenantId);
}

/** Makes every process read the tenant's rules again ('': everybody's). In the transaction of the change. */
export async function raiseRevision(tx: Sql, tenantId: string): Promise<void> {
  await tx.execute(
    `WITH next AS (UPDATE quota.rules_revision SET revision = revision + 1 RETURNING revision)
     INSERT INTO quota.rules_change (tenant_id, revision) SELECT $1, revision FROM next
     ON CONFLICT (tenant_id) DO UPDATE SET revision = excluded.revision`,
    [tenantId],
  );
}

function crossingsOf(additions: readonly Addition[], rows: readonly CounterRow[], at: Date): Crossed[] {
  const used = new Map(rows.map((row) => [JSON.stringify([row.tenant_id, row.budget_key, Number(row.period_ms), row.value_key]), row]));
  return additions.flatMap((addition) => {
    const { match, periodMs, tenantId } = addition;
    const row = used.get(JSON.stringify([tenantId, match.rule.key, periodMs, match.valueKey]));
    // A rolling window has no period in which something could happen once.
    if (row === undefined || match.span === null || match.rule.budget.paused) return [];
    const limits = limitsOf(match);
    const metrics = [
      { metric: 'usd', limit: limits.usdNano, used: row.used_nano },
      { metric: 'tokens', limit: limits.tokens, used: row.used_tokens },
      { metric: 'requests', limit: limits.requests, used: row.used_requests },
    ] as const;
    return metrics.flatMap((figures) =>
      match.rule.budget.thresholds.flatMap(({ percent, action }): Crossed[] => {
        if (figures.limit === null || figures.limit === 0n || figures.used < percentOf(figures.limit, percent)) return [];
        return [{ crossingId: newUuid(at), addition, percent, action, metric: figures.metric, limit: figures.limit, used: figures.used }];
      }),
    );
  });
}

async function noteCrossings(tx: Sql, crossed: readonly Crossed[], at: Date): Promise<void> {
  if (crossed.length === 0) return;
  const budgets = crossed.map(({ addition }) => addition.match.rule.budget);
  const noted = await tx.query<{ crossing_id: string }>(
    {
      name: 'quota.note-crossings',
      text: `INSERT INTO quota.crossing (crossing_id, tenant_id, owner_id, budget_id, version, budget_key, period_ms, period_ends, value_key, "values", metric, percent, action,
               limit_value, used_value, crossed_at)
             SELECT *, $16::timestamptz FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::integer[], $6::text[], $7::bigint[], $8::timestamptz[], $9::text[], $10::jsonb[],
               $11::text[], $12::integer[], $13::text[], $14::bigint[], $15::bigint[])
             ON CONFLICT (tenant_id, budget_key, period_ms, value_key, metric, percent, action) DO NOTHING RETURNING crossing_id`,
    },
    [
      plainArray(crossed.map(({ crossingId }) => crossingId)),
      textArray(crossed.map(({ addition }) => addition.tenantId)),
      textArray(budgets.map((budget) => budget.tenantId)),
      textArray(budgets.map((budget) => budget.budgetId)),
      plainArray(budgets.map((budget) => budget.version)),
      textArray(crossed.map(({ addition }) => addition.match.rule.key)),
      plainArray(crossed.map(({ addition }) => addition.periodMs)),
      timeArray(crossed.map(({ addition }) => endOf(addition))),
      textArray(crossed.map(({ addition }) => addition.match.valueKey)),
      textArray(crossed.map(({ addition }) => JSON.stringify(addition.values))),
      textArray(crossed.map(({ metric }) => metric)),
      plainArray(crossed.map(({ percent }) => percent)),
      textArray(crossed.map(({ action }) => action)),
      plainArray(crossed.map(({ limit }) => limit)),
      plainArray(crossed.map(({ used }) => used)),
      at,
    ],
  );
  const fresh = new Set(noted.map((row) => row.crossing_id));
  await appendOutbox(
    tx,
    crossed
      .filter(({ crossingId }) => fresh.has(crossingId))
      .map((crossing) => ({ tenantId: crossing.addition.tenantId, tenantSeq: null, topic: CROSSED_TOPIC, payload: payloadOf(crossing) })),
  );
}

function endOf({ match }: Addition): Date | null {
  const endsAtMs = match.span?.endsAtMs ?? null;
  return endsAtMs === null ? null : new Date(endsAtMs);
}

function payloadOf({ crossingId, addition, metric, percent, action, limit, used }: Crossed): Record<string, unknown> {
  const { budget } = addition.match.rule;
  const text = (value: bigint): string => (metric === 'usd' ? formatUsd(value) : String(value));
  return {
    crossing_id: crossingId,
    budget_id: budget.budgetId,
    version: budget.version,
    values: addition.values,
    metric,
    percent,
    action,
    limit: text(limit),
    used: text(used),
  };
}
