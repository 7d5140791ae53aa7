/**
 * The rules of each tenant as this process knows them: budgets, everybody's budgets, built-in ones, ladders. Asked on every authorize, so
 * it answers from memory; what another process changed is heard within a second, what this one changed at once. A change raises the one
 * revision; only the tenants it names are read again.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Sql } from '#libs/platform/postgres/database.js';
import { RuleSet, ruleOf, type Rule } from '../domain/match-budgets.js';
import { ladderFor, type Ladders } from '../domain/route.js';
import type { Budget, Override, TopUp } from '../domain/budget.js';

/** What is stored for one tenant; for '' what counts for every tenant. */
export interface StoredRules {
  /** Of the last change; 0 where there never was one. */
  readonly revision: number;
  readonly budgets: readonly Budget[];
  readonly overrides: readonly Override[];
  readonly topUps: readonly TopUp[];
  readonly ladders: Ladders;
  /** Values that still have a counter of their own, of budgets that have no room for more: by budget key and slot. */
  readonly full: ReadonlyMap<string, ReadonlySet<string>>;
}

export abstract class RuleStore {
  abstract read(sql: Sql, tenantIds: readonly string[], nowMs: number): Promise<Map<string, StoredRules>>;
  /** Tenants whose rules changed after `revision`, and the newest revision. */
  abstract changes(sql: Sql, revision: number): Promise<{ readonly revision: number; readonly tenantIds: readonly string[] }>;
}

export interface TenantRules {
  readonly revision: number;
  readonly set: RuleSet;
  /** Whether anybody set a budget for it; built-in ones do not count. */
  readonly hasBudgets: boolean;
  readonly ladder: (model: string) => readonly string[];
}

/** Budgets that every tenant has without anybody setting them. */
export type BuiltInBudgets = readonly Budget[];

export const EVERYBODY = '';
/** Advisory lock: shared by postings, exclusive for a change of rules. */
export const RULES_LOCK_KEY = 0x72756c65;
const MAX_AGE_MS = 500;
// Tenants without rules of their own share one entry's content: a kept one costs its place in the map.
const MAX_KEPT = 150_000;
const PATIENCE_MS = 250;

export class RuleBook {
  private readonly known = new Map<string, TenantRules>();
  private everybody: StoredRules | null = null;
  /** What every tenant without rules of its own has, made once: most tenants, and each set of rules is kilobytes. */
  private common: { readonly of: StoredRules | undefined; readonly rules: TenantRules } | null = null;
  private wanted = new Set<string>();
  private nextRead: Promise<ReadonlyMap<string, TenantRules>> | null = null;
  private revision = 0;
  private generation = 0;
  private checkedAt = Number.NEGATIVE_INFINITY;
  private checking: Promise<void> | null = null;

  constructor(
    private readonly database: Sql,
    private readonly store: RuleStore,
    private readonly builtIn: BuiltInBudgets,
    private readonly nowMs: () => number,
    private readonly monotonicNow: () => number = () => performance.now(),
  ) {}

  /** The tenant's rules, at most a second old. @throws DomainError storage.unavailable when they were never read */
  async find(tenantId: string): Promise<TenantRules> {
    const age = this.monotonicNow() - this.checkedAt;
    // A busy process never waits: it asks in time. One that was idle asks first; without an answer what is known goes on to count.
    const checked = age > MAX_AGE_MS ? this.check().catch(() => undefined) : null;
    if (checked !== null && age > 2 * MAX_AGE_MS) await this.patiently(checked);
    const known = this.known.get(tenantId);
    if (known) return known;
    const read = await this.readTogether(tenantId);
    return read.get(tenantId) ?? this.compile(undefined, undefined);
  }

  /** As {@link find}, for a transaction that must not miss a change committed before it asks. */
  async findInside(tx: Sql, tenantIds: readonly string[]): Promise<ReadonlyMap<string, TenantRules>> {
    await this.hear(tx);
    const found = new Map<string, TenantRules>();
    const missing: string[] = [];
    for (const tenantId of tenantIds) {
      const known = this.known.get(tenantId);
      if (known) found.set(tenantId, known);
      else missing.push(tenantId);
    }
    for (const [tenantId, rules] of missing.length === 0 ? [] : await this.read(tx, missing)) found.set(tenantId, rules);
    return found;
  }

  /** Read anew in the caller's snapshot, whatever is known here. */
  async readSnapshot(tx: Sql, tenantIds: readonly string[]): Promise<ReadonlyMap<string, TenantRules>> {
    const stored = await this.store.read(tx, [...tenantIds, EVERYBODY], this.nowMs());
    return new Map(tenantIds.map((tenantId) => [tenantId, this.compile(ownOf(stored, tenantId), stored.get(EVERYBODY))]));
  }

  /** Hears what was committed before the call. @throws DomainError storage.unavailable */
  async refresh(): Promise<void> {
    await this.hear(this.database);
  }

  /** A database that has gone silent must not hold up what can be answered without it: the right to promise ends soon enough by itself. */
  private async patiently(checked: Promise<void>): Promise<void> {
    const timer = new AbortController();
    const enough = delay(PATIENCE_MS, undefined, { signal: timer.signal }).catch(() => undefined);
    await Promise.race([checked, enough]).finally(() => timer.abort());
  }

  private async check(): Promise<void> {
    this.checking ??= this.hear(this.database).finally(() => {
      this.checking = null;
    });
    await this.checking;
  }

  private async hear(sql: Sql): Promise<void> {
    const startedAt = this.monotonicNow();
    const { revision, tenantIds } = await this.store.changes(sql, this.revision);
    if (revision > this.revision) {
      this.revision = revision;
      this.generation += 1;
      if (tenantIds.includes(EVERYBODY)) {
        this.everybody = null;
        this.known.clear();
      } else for (const tenantId of tenantIds) this.known.delete(tenantId);
    }
    this.checkedAt = Math.max(this.checkedAt, startedAt);
  }

  /** One query for everybody who misses something in this turn of the event loop: after a start every tenant is new. */
  private async readTogether(tenantId: string): Promise<ReadonlyMap<string, TenantRules>> {
    this.wanted.add(tenantId);
    this.nextRead ??= new Promise<void>((resolve) => setImmediate(resolve)).then(async () => {
      const tenantIds = [...this.wanted];
      this.wanted = new Set();
      this.nextRead = null;
      return await this.read(this.database, tenantIds);
    });
    return await this.nextRead;
  }

  private async read(sql: Sql, tenantIds: readonly string[]): Promise<Map<string, TenantRules>> {
    const { generation } = this;
    const stored = await this.store.read(sql, this.everybody === null ? [...tenantIds, EVERYBODY] : tenantIds, this.nowMs());
    const everybody = this.everybody ?? stored.get(EVERYBODY);
    const rules = new Map(tenantIds.map((tenantId) => [tenantId, this.compile(ownOf(stored, tenantId), everybody)]));
    // What changed while it was read must not be kept.
    if (generation !== this.generation) return rules;
    this.everybody = everybody ?? null;
    for (const [tenantId, found] of rules) {
      this.known.delete(tenantId);
      this.known.set(tenantId, found);
      const oldest = this.known.size > MAX_KEPT ? this.known.keys().next().value : undefined;
      if (oldest !== undefined) this.known.delete(oldest);
    }
    return rules;
  }

  private compile(own: StoredRules | undefined, everybody: StoredRules | undefined): TenantRules {
    if (own !== undefined) return this.compileFor(own, everybody);
    if (this.common === null || this.common.of !== everybody) this.common = { of: everybody, rules: this.compileFor(undefined, everybody) };
    return this.common.rules;
  }

  private compileFor(own: StoredRules | undefined, everybody: StoredRules | undefined): TenantRules {
    const full = new Map([...(everybody?.full ?? []), ...(own?.full ?? [])]);
    const rulesOf = (stored: StoredRules | undefined): Rule[] =>
      (stored?.budgets ?? []).map((budget) => ruleOf(budget, stored?.overrides ?? [], stored?.topUps ?? []));
    const budgets = [...rulesOf(own), ...rulesOf(everybody)];
    return {
      revision: Math.max(own?.revision ?? 0, everybody?.revision ?? 0),
      set: new RuleSet([...budgets, ...this.builtIn.map((budget) => ruleOf(budget, [], []))], full),
      hasBudgets: budgets.length > 0,
      ladder: (model) => ladderFor(own?.ladders ?? NO_LADDERS, everybody?.ladders ?? NO_LADDERS, model),
    };
  }
}

/** Everybody's rules are nobody's own: they would count twice. */
function ownOf(stored: ReadonlyMap<string, StoredRules>, tenantId: string): StoredRules | undefined {
  return tenantId === EVERYBODY ? undefined : stored.get(tenantId);
}

const NO_LADDERS: Ladders = new Map();
