import { digest128, DomainError, newUuid, type Clock } from '#libs/kernel/index.js';
import type { AuditLog, ChangeContext } from '#libs/platform/audit/audit-log.js';
import type { Database, Sql } from '#libs/platform/postgres/database.js';
import type { Budget, Limits, Override, Scope } from '../domain/budget.js';
import { isKeyBalance } from '../domain/key-balance.js';
import { RuleSet, valueKeyOf } from '../domain/match-budgets.js';
import type { BudgetStore, StoredTopUp } from './budget-store.js';
import { describeBudget, describeLimits } from './describe-budget.js';
import { EVERYBODY, type RuleBook } from './rule-book.js';

interface BudgetOf {
  readonly tenantId: string;
  readonly budgetId: string;
}
interface Changing extends BudgetOf {
  readonly context: ChangeContext;
}

export function budgetNotFound(): DomainError {
  return new DomainError({ code: 'budget.not_found', kind: 'not_found', publicMessage: 'there is no such budget' });
}

/** What every change of a budget has in common: it exists, is changed and audited in one transaction, and is known here at once. */
abstract class BudgetChange {
  constructor(
    protected readonly store: BudgetStore,
    private readonly rules: RuleBook,
    private readonly audit: AuditLog,
    protected readonly clock: Clock,
  ) {}

  protected async change<T>(
    input: Changing,
    work: (tx: Sql, budget: Budget, at: Date) => Promise<{ result: T; entry: { action: string; before: Json; after: Json } | null }>,
  ): Promise<T> {
    const result = await this.store.change(input.tenantId, async (tx) => {
      const budget = await this.store.find(tx, input.tenantId, input.budgetId);
      if (budget === null || isKeyBalance(budget.budgetId)) throw budgetNotFound();
      const at = this.clock.now();
      const done = await work(tx, budget, at);
      if (done.entry === null) return { changed: false, result: done.result };
      await this.audit.append(tx, {
        at,
        actor: input.context.actor,
        entity: 'budget',
        entityId: input.budgetId,
        tenantId: input.tenantId === EVERYBODY ? null : input.tenantId,
        reason: null,
        requestId: input.context.requestId,
        ...done.entry,
      });
      return { changed: true, result: done.result };
    });
    await this.rules.refresh();
    return result;
  }
}

/** Stops a budget from refusing anything, or lets it again. It goes on counting. */
export class PauseBudget extends BudgetChange {
  /** @throws DomainError budget.not_found */
  async execute(input: Changing & { paused: boolean }): Promise<Budget> {
    return await this.change(input, async (tx, budget, at) => {
      if (budget.paused === input.paused) return { result: budget, entry: null };
      const after: Budget = { ...budget, paused: input.paused, updatedAt: at };
      await this.store.save(tx, after, null);
      return {
        result: after,
        entry: { action: input.paused ? 'budget.paused' : 'budget.resumed', before: describeBudget(budget), after: describeBudget(after) },
      };
    });
  }
}

/** Ends a budget with its overrides and top-ups. One made later under the same name begins anew. */
export class DeleteBudget extends BudgetChange {
  /** @throws DomainError budget.not_found */
  async execute(input: Changing): Promise<Budget> {
    return await this.change(input, async (tx, budget, at) => {
      await this.store.save(tx, budget, at);
      return { result: budget, entry: { action: 'budget.deleted', before: describeBudget(budget), after: null } };
    });
  }
}

/** Other limits for one set of values of `per`. */
export class PutOverride extends BudgetChange {
  /** @throws DomainError budget.not_found, budget.invalid when `values` are not the budget's */
  async execute(input: Changing & { values: Scope; limits: Limits }): Promise<Override> {
    return await this.change(input, async (tx, budget, at) => {
      const valueKey = valueKeyFor(budget, input.values);
      if (budget.per.length === 0) throw invalid('values', 'this budget has one counter: change its limits instead');
      const override: Override = { budgetId: budget.budgetId, values: input.values, valueKey, limits: input.limits };
      const before = await this.store.saveOverride(tx, input.tenantId, override, at);
      return {
        result: override,
        entry: { action: 'budget.override_put', before: before === null ? null : describeOverride(before), after: describeOverride(override) },
      };
    });
  }
}

export class RemoveOverride extends BudgetChange {
  /** @throws DomainError budget.not_found, budget.override_not_found */
  async execute(input: Changing & { valueKey: string }): Promise<Override> {
    return await this.change(input, async (tx) => {
      const removed = await this.store.removeOverride(tx, input.tenantId, input.budgetId, input.valueKey);
      if (removed === null) throw new DomainError({ code: 'budget.override_not_found', kind: 'not_found', publicMessage: 'there is no such override' });
      return { result: removed, entry: { action: 'budget.override_removed', before: describeOverride(removed), after: null } };
    });
  }
}

/** More of a limit in the period of now. */
export class TopUpBudget extends BudgetChange {
  /**
   * @param input.idempotencyKey the same key and body: the first answer again
   * @throws DomainError budget.not_found, budget.invalid (values, or a rolling window, which has no period), idempotency.conflict (409)
   */
  async execute(input: Changing & { values: Scope; limits: Limits; idempotencyKey: string | null }): Promise<StoredTopUp> {
    return await this.change(input, async (tx, budget, at) => {
      const valueKey = valueKeyFor(budget, input.values);
      const span = new RuleSet([]).spanAt(budget, at.getTime());
      if (span === null) throw invalid('values', 'a rolling window has no period that could be topped up: raise its limit');
      const requestHash = digest128(valueKey, JSON.stringify(describeLimits(input.limits)));
      const earlier = input.idempotencyKey === null ? null : await this.store.findTopUp(tx, input.tenantId, budget.budgetId, input.idempotencyKey);
      if (earlier !== null) {
        if (earlier.requestHash.equals(requestHash)) return { result: { ...earlier, values: input.values }, entry: null };
        throw new DomainError({ code: 'idempotency.conflict', kind: 'conflict', publicMessage: 'this Idempotency-Key was used with another body' });
      }
      const topUp: StoredTopUp = {
        topUpId: newUuid(at),
        budgetId: budget.budgetId,
        values: input.values,
        valueKey,
        periodMs: span.startsAtMs,
        limits: input.limits,
        idemKey: input.idempotencyKey,
        requestHash,
        createdAt: at,
      };
      await this.store.insertTopUp(tx, input.tenantId, topUp);
      const after = { values: valuesJson(input.values), period_start: new Date(span.startsAtMs).toISOString(), ...describeLimits(input.limits) };
      return { result: topUp, entry: { action: 'budget.topped_up', before: null, after } };
    });
  }
}

/** Reads budgets. */
export class ReadBudgets {
  constructor(
    private readonly database: Database,
    private readonly store: BudgetStore,
  ) {}

  /** @throws DomainError budget.not_found */
  async find({ tenantId, budgetId }: BudgetOf): Promise<Budget> {
    const budget = await this.store.find(this.database, tenantId, budgetId);
    if (budget === null || isKeyBalance(budgetId)) throw budgetNotFound();
    return budget;
  }

  async list(tenantId: string, page: { after: string | null; limit: number }): Promise<Budget[]> {
    return await this.store.list(this.database, tenantId, page.after, page.limit);
  }

  /** @throws DomainError budget.not_found */
  async overrides(of: BudgetOf, page: { after: string | null; limit: number }): Promise<Override[]> {
    await this.find(of);
    return await this.store.overrides(this.database, of.tenantId, of.budgetId, page.after, page.limit);
  }
}

type Json = ReturnType<typeof describeBudget>;

function valuesJson(values: Scope): Json {
  return Object.fromEntries(Object.entries(values).flatMap(([key, value]) => (typeof value === 'string' ? [[key, value]] : [])));
}

function describeOverride({ values, limits }: Override): Json {
  return { values: valuesJson(values), ...describeLimits(limits) };
}

function valueKeyFor(budget: Budget, values: Scope): string {
  const extra = Object.keys(values).find((name) => !(budget.per as readonly string[]).includes(name));
  if (extra !== undefined) throw invalid(`values.${extra}`, 'is no field of this budget\'s "per"');
  const missing = budget.per.find((attribute) => values[attribute] === undefined);
  const valueKey = valueKeyOf(budget.per, values);
  if (missing !== undefined || valueKey === null) throw invalid(`values.${missing ?? ''}`, 'must be set: the budget counts by it');
  return valueKey;
}

function invalid(path: string, message: string): DomainError {
  return new DomainError({ code: 'budget.invalid', kind: 'invalid', publicMessage: 'the budget was not changed', errors: [{ path, message }] });
}
