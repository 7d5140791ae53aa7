/** What every process reads of the rules, in a handful of statements whatever the number of tenants. */
import { textArray } from '#libs/platform/postgres/array-literal.js';
import type { Sql } from '#libs/platform/postgres/database.js';
import { RuleStore, type StoredRules } from '../application/rule-book.js';
import { isShared, type Budget } from '../domain/budget.js';
import { MAX_COUNTERS, RuleSet, ruleKeyOf, slotKey, slotMsOf } from '../domain/match-budgets.js';
import { BUDGET_COLUMNS, fromBudgetRow, fromOverrideRow, fromTopUpRow, type BudgetRow, type OverrideRow, type TopUpRow } from './budget-rows.js';

export class PostgresRuleStore extends RuleStore {
  override async changes(sql: Sql, revision: number): Promise<{ revision: number; tenantIds: string[] }> {
    const rows = await sql.query<{ tenant_id: string; revision: bigint }>(
      { name: 'quota.rule-changes', text: 'SELECT tenant_id, revision FROM quota.rules_change WHERE revision > $1' },
      [revision],
    );
    return { revision: rows.reduce((newest, row) => Math.max(newest, Number(row.revision)), revision), tenantIds: rows.map((row) => row.tenant_id) };
  }

  override async read(sql: Sql, tenantIds: readonly string[], nowMs: number): Promise<Map<string, StoredRules>> {
    const ids = textArray([...new Set(tenantIds)].sort());
    const changes = await sql.query<{ tenant_id: string; revision: bigint }>(
      { name: 'quota.read-revisions', text: 'SELECT tenant_id, revision FROM quota.rules_change WHERE tenant_id = ANY($1::text[])' },
      [ids],
    );
    // A tenant whose rules nobody ever changed has none: most of them.
    if (changes.length === 0) return new Map();
    const changed = textArray(changes.map((row) => row.tenant_id));
    const budgets = (
      await sql.query<BudgetRow>(
        `SELECT ${BUDGET_COLUMNS} FROM quota.budget WHERE tenant_id = ANY($1::text[]) AND deleted_at IS NULL ORDER BY tenant_id, budget_id`,
        [changed],
      )
    ).map(fromBudgetRow);
    const overrides = await sql.query<OverrideRow>(
      'SELECT tenant_id, budget_id, value_key, "values", limit_nano, limit_tokens, limit_requests, limit_concurrent FROM quota.budget_override WHERE tenant_id = ANY($1::text[])',
      [changed],
    );
    const topUps = await sql.query<TopUpRow>(
      'SELECT tenant_id, budget_id, value_key, period_ms, amount_nano, amount_tokens, amount_requests FROM quota.budget_top_up WHERE tenant_id = ANY($1::text[])',
      [changed],
    );
    const routes = await sql.query<{ tenant_id: string; model: string; ladder: string[] }>(
      'SELECT tenant_id, model, ladder FROM quota.route WHERE tenant_id = ANY($1::text[])',
      [changed],
    );
    const full = await readFull(sql, tenantIds, budgets, nowMs);
    return new Map(
      changes.map(({ tenant_id: tenantId, revision }): [string, StoredRules] => [
        tenantId,
        {
          revision: Number(revision),
          budgets: budgets.filter((budget) => budget.tenantId === tenantId),
          overrides: overrides.filter((row) => row.tenant_id === tenantId).map(fromOverrideRow),
          topUps: topUps.filter((row) => row.tenant_id === tenantId).map(fromTopUpRow),
          ladders: new Map(routes.filter((row) => row.tenant_id === tenantId).map((row) => [row.model, row.ladder])),
          full: full.get(tenantId) ?? new Map<string, ReadonlySet<string>>(),
        },
      ]),
    );
  }
}

/** Budgets without room for another counter in their current period, with the values that have one. */
async function readFull(sql: Sql, tenantIds: readonly string[], budgets: readonly Budget[], nowMs: number): Promise<Map<string, Map<string, Set<string>>>> {
  const found = new Map<string, Map<string, Set<string>>>();
  const keyed = budgets.filter(({ per, tenantId }) => per.length > 0 && (tenantId !== '' || isShared({ tenantId, per })));
  if (keyed.length === 0) return found;
  const spans = new RuleSet([]);
  const slots = keyed.map((budget) => ({ tenantId: budget.tenantId, key: ruleKeyOf(budget), slotMs: slotMsOf(budget, spans.spanAt(budget, nowMs), nowMs) }));
  const rows = await sql.query<{ tenant_id: string; budget_key: string; slot_ms: bigint; value_keys: string[] }>(
    `SELECT v.tenant_id, v.budget_key, v.slot_ms, array_agg(v.value_key) AS value_keys
     FROM unnest($1::text[], $2::text[], $3::bigint[]) AS n (tenant_id, budget_key, slot_ms)
     JOIN quota.counter_value v ON v.tenant_id = n.tenant_id AND v.budget_key = n.budget_key AND v.slot_ms = n.slot_ms
     WHERE v.tenant_id = ANY($5::text[])
     GROUP BY v.tenant_id, v.budget_key, v.slot_ms HAVING count(*) >= $4`,
    [
      textArray(slots.map((slot) => slot.tenantId)),
      textArray(slots.map((slot) => slot.key)),
      slots.map((slot) => slot.slotMs),
      MAX_COUNTERS,
      textArray(tenantIds),
    ],
  );
  for (const row of rows) {
    const own = found.get(row.tenant_id) ?? new Map<string, Set<string>>();
    own.set(slotKey(row.budget_key, Number(row.slot_ms)), new Set(row.value_keys));
    found.set(row.tenant_id, own);
  }
  return found;
}
