import type { Json } from '#libs/kernel/index.js';
import { plainArray, textArray } from '#libs/platform/postgres/array-literal.js';
import type { Database, Sql } from '#libs/platform/postgres/database.js';
import { BudgetStore, type StoredTopUp } from '../application/budget-store.js';
import { RULES_LOCK_KEY } from '../application/rule-book.js';
import { isShared, type Budget, type Override, type Scope } from '../domain/budget.js';
import {
  BUDGET_COLUMNS,
  budgetParams,
  fromBudgetRow,
  fromOverrideRow,
  fromTopUpRow,
  toScope,
  type BudgetRow,
  type OverrideRow,
  type TopUpRow,
} from './budget-rows.js';
import { balanceBudgetId } from '../domain/key-balance.js';
import { raiseRevision } from './count-additions.js';
import { coverOpenCalls } from './cover-open-calls.js';

const OVERRIDE_COLUMNS = 'tenant_id, budget_id, value_key, "values", limit_nano, limit_tokens, limit_requests, limit_concurrent';

const BY_CALENDAR = `tenant_id <> '' AND deleted_at IS NULL AND period IN ('hour', 'day', 'week', 'month')`;

export class PostgresBudgetStore extends BudgetStore {
  constructor(private readonly database: Database) {
    super();
  }

  override async change<T>(tenantId: string, work: (tx: Sql) => Promise<{ readonly changed: boolean; readonly result: T }>): Promise<T> {
    return await this.database.transaction(async (tx) => {
      await tx.execute(`SELECT pg_advisory_xact_lock(${RULES_LOCK_KEY})`);
      const { changed, result } = await work(tx);
      if (changed) await raiseRevision(tx, tenantId);
      return result;
    });
  }

  override async find(sql: Sql, tenantId: string, budgetId: string): Promise<Budget | null> {
    const [row] = await sql.query<BudgetRow>(`SELECT ${BUDGET_COLUMNS} FROM quota.budget WHERE tenant_id = $1 AND budget_id = $2 AND deleted_at IS NULL`, [
      tenantId,
      budgetId,
    ]);
    return row ? fromBudgetRow(row) : null;
  }

  override async lastVersion(sql: Sql, tenantId: string, budgetId: string): Promise<number> {
    const [row] = await sql.query<{ version: number }>('SELECT version FROM quota.budget WHERE tenant_id = $1 AND budget_id = $2', [tenantId, budgetId]);
    return row?.version ?? 0;
  }

  override async save(tx: Sql, budget: Budget, deletedAt: Date | null): Promise<void> {
    await tx.execute(
      `INSERT INTO quota.budget (${BUDGET_COLUMNS})
       VALUES ($1, $2, $3, $4::jsonb, $5::text[], $6, $7, $8, $9, $10, $11, $12, $13::jsonb, $14, $15, $16, $17, $18, $19, $20, $21)
       ON CONFLICT (tenant_id, budget_id) DO UPDATE SET version = excluded.version, scope = excluded.scope, per = excluded.per, period = excluded.period,
         rolling_seconds = excluded.rolling_seconds, timezone = excluded.timezone, limit_nano = excluded.limit_nano, limit_tokens = excluded.limit_tokens,
         limit_requests = excluded.limit_requests, limit_concurrent = excluded.limit_concurrent, thresholds = excluded.thresholds, enforcement = excluded.enforcement,
         count_from = excluded.count_from, counts_from = excluded.counts_from, paused = excluded.paused, warming = excluded.warming, created_at = excluded.created_at,
         updated_at = excluded.updated_at, deleted_at = excluded.deleted_at`,
      budgetParams(budget, deletedAt),
    );
    if (deletedAt === null && isShared(budget) && !budget.paused && !budget.warming) await coverOpenCalls(tx, budget);
    // What was agreed for values or a period of the old budget is no part of a later one of the same name.
    if (deletedAt === null) return;
    await tx.execute('DELETE FROM quota.budget_override WHERE tenant_id = $1 AND budget_id = $2', [budget.tenantId, budget.budgetId]);
    await tx.execute('DELETE FROM quota.budget_top_up WHERE tenant_id = $1 AND budget_id = $2', [budget.tenantId, budget.budgetId]);
  }

  override async list(sql: Sql, tenantId: string, after: string | null, limit: number): Promise<Budget[]> {
    const rows = await sql.query<BudgetRow>(
      `SELECT ${BUDGET_COLUMNS} FROM quota.budget WHERE tenant_id = $1 AND deleted_at IS NULL AND NOT starts_with(budget_id, $4)
         AND ($2::text IS NULL OR budget_id > $2) ORDER BY budget_id LIMIT $3`,
      [tenantId, after, limit, balanceBudgetId('')],
    );
    return rows.map(fromBudgetRow);
  }

  override async warming(sql: Sql, limit: number): Promise<Budget[]> {
    const rows = await sql.query<BudgetRow>(`SELECT ${BUDGET_COLUMNS} FROM quota.budget WHERE warming AND deleted_at IS NULL ORDER BY updated_at LIMIT $1`, [
      limit,
    ]);
    return rows.map(fromBudgetRow);
  }

  override async zones(sql: Sql): Promise<{ tenantId: string; timezone: string }[]> {
    return await sql.query(`SELECT DISTINCT tenant_id AS "tenantId", timezone FROM quota.budget WHERE ${BY_CALENDAR}`);
  }

  override async inZone(tx: Sql, tenantId: string, timezone: string): Promise<Budget[]> {
    const rows = await tx.query<BudgetRow>(`SELECT ${BUDGET_COLUMNS} FROM quota.budget WHERE tenant_id = $1 AND timezone = $2 AND ${BY_CALENDAR}`, [
      tenantId,
      timezone,
    ]);
    return rows.map(fromBudgetRow);
  }

  override async overrides(sql: Sql, tenantId: string, budgetId: string, after: string | null, limit: number): Promise<Override[]> {
    const rows = await sql.query<OverrideRow>(
      `SELECT ${OVERRIDE_COLUMNS} FROM quota.budget_override WHERE tenant_id = $1 AND budget_id = $2 AND ($3::text IS NULL OR value_key > $3) ORDER BY value_key LIMIT $4`,
      [tenantId, budgetId, after, limit],
    );
    return rows.map(fromOverrideRow);
  }

  override async saveOverride(tx: Sql, tenantId: string, override: Override, at: Date): Promise<Override | null> {
    const [before] = await tx.query<OverrideRow>(
      `SELECT ${OVERRIDE_COLUMNS} FROM quota.budget_override WHERE tenant_id = $1 AND budget_id = $2 AND value_key = $3 FOR UPDATE`,
      [tenantId, override.budgetId, override.valueKey],
    );
    const { usdNano, tokens, requests, concurrent } = override.limits;
    await tx.execute(
      `INSERT INTO quota.budget_override (${OVERRIDE_COLUMNS}, updated_at) VALUES ($1, $2, $3, $4::jsonb, $5, $6, $7, $8, $9)
       ON CONFLICT (tenant_id, budget_id, value_key) DO UPDATE SET limit_nano = excluded.limit_nano, limit_tokens = excluded.limit_tokens,
         limit_requests = excluded.limit_requests, limit_concurrent = excluded.limit_concurrent, updated_at = excluded.updated_at`,
      [tenantId, override.budgetId, override.valueKey, JSON.stringify(override.values), usdNano, tokens, requests, concurrent, at],
    );
    return before ? fromOverrideRow(before) : null;
  }

  override async removeOverride(tx: Sql, tenantId: string, budgetId: string, valueKey: string): Promise<Override | null> {
    const [row] = await tx.query<OverrideRow>(
      `DELETE FROM quota.budget_override WHERE tenant_id = $1 AND budget_id = $2 AND value_key = $3 RETURNING ${OVERRIDE_COLUMNS}`,
      [tenantId, budgetId, valueKey],
    );
    return row ? fromOverrideRow(row) : null;
  }

  override async findTopUp(tx: Sql, tenantId: string, budgetId: string, idemKey: string): Promise<StoredTopUp | null> {
    const [row] = await tx.query<TopUpRow & { top_up_id: string; request_hash: Buffer; created_at: Date }>(
      `SELECT top_up_id, tenant_id, budget_id, value_key, period_ms, amount_nano, amount_tokens, amount_requests, request_hash, created_at
       FROM quota.budget_top_up WHERE tenant_id = $1 AND budget_id = $2 AND idem_key = $3`,
      [tenantId, budgetId, idemKey],
    );
    return row ? { ...fromTopUpRow(row), topUpId: row.top_up_id, values: null, idemKey, requestHash: row.request_hash, createdAt: row.created_at } : null;
  }

  override async insertTopUp(tx: Sql, tenantId: string, topUp: StoredTopUp): Promise<void> {
    await tx.execute(
      `INSERT INTO quota.budget_top_up (top_up_id, tenant_id, budget_id, value_key, period_ms, amount_nano, amount_tokens, amount_requests, idem_key, request_hash, created_at)
       VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
      [
        topUp.topUpId,
        tenantId,
        topUp.budgetId,
        topUp.valueKey,
        topUp.periodMs,
        topUp.limits.usdNano,
        topUp.limits.tokens,
        topUp.limits.requests,
        topUp.idemKey,
        topUp.requestHash,
        topUp.createdAt,
      ],
    );
  }

  override async ladders(sql: Sql, tenantId: string): Promise<ReadonlyMap<string, readonly string[]>> {
    const rows = await sql.query<{ model: string; ladder: string[] }>('SELECT model, ladder FROM quota.route WHERE tenant_id = $1 ORDER BY model', [tenantId]);
    return new Map(rows.map((row) => [row.model, row.ladder]));
  }

  override async replaceLadders(tx: Sql, tenantId: string, ladders: ReadonlyMap<string, readonly string[]>): Promise<void> {
    await tx.execute('DELETE FROM quota.route WHERE tenant_id = $1', [tenantId]);
    for (const [model, ladder] of ladders)
      await tx.execute('INSERT INTO quota.route (tenant_id, model, ladder) VALUES ($1, $2, $3::text[])', [tenantId, model, textArray(ladder)]);
  }

  override async values(
    sql: Sql,
    input: { tenantId: string; budgetKey: string; slots: readonly number[]; after: string | null; limit: number },
  ): Promise<{ valueKey: string; values: Scope }[]> {
    const rows = await sql.query<{ value_key: string; values: { [key: string]: Json } }>(
      `SELECT DISTINCT ON (value_key) value_key, "values" FROM quota.counter_value
       WHERE tenant_id = $1 AND budget_key = $2 AND slot_ms = ANY($3::bigint[]) AND ($4::text IS NULL OR value_key > $4) ORDER BY value_key LIMIT $5`,
      [input.tenantId, input.budgetKey, plainArray(input.slots), input.after, input.limit],
    );
    return rows.map((row) => ({ valueKey: row.value_key, values: toScope(row.values) }));
  }
}
