/**
 * The counters of shared budgets: each tenant's own are what is held and judged by, those of tenant '' are their sum, for people, thresholds
 * and the number of values. Rows that were added up are deleted in the same transaction, so each counts once.
 */
import type { Database } from '#libs/platform/postgres/database.js';
import { EVERYBODY, type RuleBook } from '../application/rule-book.js';
import { countShared } from './count-additions.js';
import type { Addition } from './counter-rows.js';
import { openLedger, writeLedger } from './postgres-lease-pools.js';

const ADD_UP_LOCK_KEY = 0x73686172;

interface DeltaRow {
  budget_key: string;
  period_ms: bigint;
  value_key: string;
  values: Record<string, string>;
  used_nano: bigint;
  used_tokens: bigint;
  used_requests: bigint;
  rows: bigint;
}

/** Adds what postings left to the counters of tenant ''. */
export async function addUpShared(database: Database, book: RuleBook, at: Date, limit: number): Promise<number> {
  return await database.transaction(async (tx) => {
    // One at a time: two would take the same rows, and lock the same counters in turn.
    await tx.execute(`SELECT pg_advisory_xact_lock(${ADD_UP_LOCK_KEY})`);
    const rows = await tx.query<DeltaRow>(
      `WITH taken AS (
         DELETE FROM quota.shared_delta WHERE delta_id IN (SELECT delta_id FROM quota.shared_delta ORDER BY delta_id LIMIT $1) RETURNING *)
       SELECT budget_key, period_ms, value_key, (array_agg("values"))[1] AS "values", sum(used_nano)::bigint AS used_nano, sum(used_tokens)::bigint AS used_tokens,
         sum(used_requests)::bigint AS used_requests, count(*) AS rows
       FROM taken GROUP BY budget_key, period_ms, value_key ORDER BY budget_key, period_ms, value_key`,
      [limit],
    );
    const set = (await book.findInside(tx, [EVERYBODY])).get(EVERYBODY)?.set;
    const additions = rows.flatMap((row): Addition[] => {
      const rule = set?.rules.find(({ key }) => key === row.budget_key);
      if (set === undefined || rule === undefined) return [];
      const periodMs = Number(row.period_ms);
      const match = { rule, valueKey: row.value_key, span: set.spanAt(rule.budget, periodMs) };
      const { used_nano: nano, used_tokens: tokens, used_requests: requests, values } = row;
      return [{ tenantId: EVERYBODY, match, periodMs, nano, tokens, requests, values }];
    });
    await countShared(tx, additions, at);
    return rows.reduce((sum, row) => sum + Number(row.rows), 0);
  });
}

/** Adds to the pools what tenants used beyond their grants. */
export async function coverExcess(database: Database, at: Date, limit: number): Promise<number> {
  return await database.transaction(async (tx) => {
    const waiting = await tx.query<{ lease_key: string; ends_ms: bigint | null }>(
      'SELECT lease_key, max(ends_ms) AS ends_ms FROM quota.lease_excess GROUP BY lease_key LIMIT $1',
      [limit],
    );
    if (waiting.length === 0) return 0;
    const ledger = await openLedger(
      tx,
      waiting.map((row) => ({ tenantId: EVERYBODY, lease: row.lease_key, endsAtMs: row.ends_ms === null ? null : Number(row.ends_ms) })),
    );
    await writeLedger(tx, ledger, 0n, at);
    return waiting.length;
  });
}
