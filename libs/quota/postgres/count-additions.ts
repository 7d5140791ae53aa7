/**
 * Adds a posting batch to the durable counters, and what follows: values seen for the first time are named, budgets that are still being
 * back-filled get their additions put aside, and counters that passed a threshold leave a crossing (note-crossings.ts).
 */
import { plainArray, textArray } from '#libs/platform/postgres/array-literal.js';
import type { Sql } from '#libs/platform/postgres/database.js';
import { isShared } from '../domain/budget.js';
import { ALL_VALUES, MAX_COUNTERS, OTHER_VALUES, slotMsOf } from '../domain/match-budgets.js';
import { addToCounters, expiryOf, type Addition } from './counter-rows.js';
import { leaveShared } from './leave-shared.js';
import { noteCrossings } from './note-crossings.js';

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
  await noteCrossings(tx, own, rows, at);
  await leaveShared(tx, counted, rows, at);
}

/** Adds to the sums of shared budgets, which are counters of tenant ''. */
export async function countShared(tx: Sql, additions: readonly Addition[], at: Date): Promise<void> {
  const rows = await addToCounters(tx, additions);
  await nameValues(tx, additions);
  await noteCrossings(tx, additions, rows, at);
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
