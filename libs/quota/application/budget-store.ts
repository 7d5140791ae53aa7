import type { Sql } from '#libs/platform/postgres/database.js';
import type { Budget, Limits, Override, Scope } from '../domain/budget.js';

/** A stored top-up. */
export interface StoredTopUp {
  readonly topUpId: string;
  readonly budgetId: string;
  readonly values: Scope | null;
  readonly valueKey: string;
  readonly periodMs: number;
  readonly limits: Limits;
  readonly idemKey: string | null;
  readonly requestHash: Buffer;
  readonly createdAt: Date;
}

/** Budgets and what belongs to them; tenant '' is everybody. */
export abstract class BudgetStore {
  /**
   * Runs a change of a tenant's rules: postings under way end first, later ones know it. `work` answers null when nothing changed; else every
   * process reads the tenant's rules again.
   */
  abstract change<T>(tenantId: string, work: (tx: Sql) => Promise<{ readonly changed: boolean; readonly result: T }>): Promise<T>;
  /** Deleted ones are null. */
  abstract find(sql: Sql, tenantId: string, budgetId: string): Promise<Budget | null>;
  /** The last version ever, deleted or not; 0 where there never was one. */
  abstract lastVersion(sql: Sql, tenantId: string, budgetId: string): Promise<number>;
  abstract save(tx: Sql, budget: Budget, deletedAt: Date | null): Promise<void>;
  /** By id, without the balances of keys. */
  abstract list(sql: Sql, tenantId: string, after: string | null, limit: number): Promise<Budget[]>;
  abstract warming(sql: Sql, limit: number): Promise<Budget[]>;
  /** The time zones that tenants' calendar budgets are counted in. */
  abstract zones(sql: Sql): Promise<{ tenantId: string; timezone: string }[]>;
  /** A tenant's calendar budgets of one zone. */
  abstract inZone(tx: Sql, tenantId: string, timezone: string): Promise<Budget[]>;
  abstract overrides(sql: Sql, tenantId: string, budgetId: string, after: string | null, limit: number): Promise<Override[]>;
  abstract saveOverride(tx: Sql, tenantId: string, override: Override, at: Date): Promise<Override | null>;
  /** The removed one; null where there is none. */
  abstract removeOverride(tx: Sql, tenantId: string, budgetId: string, valueKey: string): Promise<Override | null>;
  abstract findTopUp(tx: Sql, tenantId: string, budgetId: string, idemKey: string): Promise<StoredTopUp | null>;
  abstract insertTopUp(tx: Sql, tenantId: string, topUp: StoredTopUp): Promise<void>;
  abstract ladders(sql: Sql, tenantId: string): Promise<ReadonlyMap<string, readonly string[]>>;
  abstract replaceLadders(tx: Sql, tenantId: string, ladders: ReadonlyMap<string, readonly string[]>): Promise<void>;
  /** Values that have counters in the given slots, by key. */
  abstract values(
    sql: Sql,
    input: { tenantId: string; budgetKey: string; slots: readonly number[]; after: string | null; limit: number },
  ): Promise<{ valueKey: string; values: Scope }[]>;
}
