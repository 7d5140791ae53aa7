/**
 * Creates a budget or changes one. What it counts (scope, per, period, where it begins) makes a version with counters of its own, which is in
 * shadow until they are back-filled; how much, thresholds and enforcement count at once and keep the counters.
 */
import { DomainError, type Clock } from '#libs/kernel/index.js';
import type { AuditLog, ChangeContext } from '#libs/platform/audit/audit-log.js';
import type { Tenant, TenantDirectory } from '#libs/tenancy/index.js';
import { countsAlike, type Budget, type BudgetSettings } from '../domain/budget.js';
import { isKeyBalance } from '../domain/key-balance.js';
import { bucketMsOf } from '../domain/limit.js';
import type { BudgetStore } from './budget-store.js';
import { describeBudget } from './describe-budget.js';
import { EVERYBODY, type RuleBook } from './rule-book.js';
import type { WarmBudgets } from './warm-budgets.js';

export class PutBudget {
  constructor(
    private readonly store: BudgetStore,
    private readonly tenants: TenantDirectory,
    private readonly rules: RuleBook,
    private readonly warm: WarmBudgets,
    private readonly audit: AuditLog,
    private readonly clock: Clock,
  ) {}

  /**
   * @param input.tenantId '' for a budget across tenants
   * @throws DomainError tenant.not_found, budget.invalid
   */
  async execute(input: {
    tenantId: string;
    budgetId: string;
    settings: BudgetSettings;
    context: ChangeContext;
  }): Promise<{ budget: Budget; created: boolean }> {
    const { tenantId, budgetId, settings, context } = input;
    const tenant = tenantId === EVERYBODY ? null : await this.tenants.find(tenantId);
    if (tenant === null && tenantId !== EVERYBODY)
      throw new DomainError({ code: 'tenant.not_found', kind: 'not_found', publicMessage: 'there is no such tenant' });
    if (isKeyBalance(budgetId)) throw invalid([{ path: 'budget_id', message: 'must not begin with "prepaid:": such are the balances of keys' }]);
    assertSound(tenantId, settings);
    const outcome = await this.store.change(tenantId, async (tx) => {
      const before = await this.store.find(tx, tenantId, budgetId);
      const at = this.clock.now();
      const version = await this.store.lastVersion(tx, tenantId, budgetId);
      const budget = nextBudget({ tenantId, budgetId, settings, tenant, before, version, at });
      if (before !== null && JSON.stringify(describeBudget(before)) === JSON.stringify(describeBudget(budget)))
        return { changed: false, result: { budget: before, created: false } };
      await this.store.save(tx, budget, null);
      await this.audit.append(tx, {
        at,
        actor: context.actor,
        action: before === null ? 'budget.created' : 'budget.updated',
        entity: 'budget',
        entityId: budgetId,
        tenantId: tenantId === EVERYBODY ? null : tenantId,
        before: before === null ? null : describeBudget(before),
        after: describeBudget(budget),
        reason: null,
        requestId: context.requestId,
      });
      return { changed: true, result: { budget, created: before === null } };
    });
    await this.rules.refresh();
    return outcome.budget.warming && (await this.warm.soon(outcome.budget)) ? { ...outcome, budget: { ...outcome.budget, warming: false } } : outcome;
  }
}

function nextBudget(input: {
  tenantId: string;
  budgetId: string;
  settings: BudgetSettings;
  tenant: Tenant | null;
  before: Budget | null;
  version: number;
  at: Date;
}): Budget {
  const { settings, before, at } = input;
  const base = {
    ...settings,
    tenantId: input.tenantId,
    budgetId: input.budgetId,
    paused: before?.paused ?? false,
    createdAt: before?.createdAt ?? at,
    updatedAt: at,
  };
  const timezone = input.tenant?.timezone ?? 'UTC';
  const byCalendar = settings.period.kind !== 'rolling' && settings.period.kind !== 'total';
  if (before !== null && countsAlike(before, settings) && (before.timezone === timezone || !byCalendar))
    return { ...base, version: before.version, timezone, countsFromMs: before.countsFromMs, warming: before.warming };
  const fromNow = settings.countFrom === 'now';
  return { ...base, version: input.version + 1, timezone, countsFromMs: fromNow ? at.getTime() : null, warming: !fromNow };
}

const SHORTEST_ROLLING_SECONDS = 1;
const LONGEST_ROLLING_SECONDS = 35 * 86_400;

/** @throws DomainError budget.invalid that names every field and its rule */
export function assertSound(tenantId: string, { per, limits, thresholds, period, countFrom }: BudgetSettings): void {
  const errors: { path: string; message: string }[] = [];
  const { usdNano, tokens, requests, concurrent } = limits;
  if ([usdNano, tokens, requests, concurrent].every((limit) => limit === null))
    errors.push({ path: 'limit_usd', message: 'or another limit (limit_tokens, limit_requests, limit_concurrent) must be set' });
  if (new Set(per).size !== per.length) errors.push({ path: 'per', message: 'must not name a field twice' });
  if (new Set(thresholds.map(({ percent, action, appliesTo }) => `${percent} ${action} ${appliesTo}`)).size !== thresholds.length)
    errors.push({ path: 'thresholds', message: 'must not name a threshold twice' });
  if (period.kind === 'rolling' && (period.seconds < SHORTEST_ROLLING_SECONDS || period.seconds > LONGEST_ROLLING_SECONDS || bucketMsOf(period.seconds) < 1))
    errors.push({ path: 'period.rolling_seconds', message: `must be a whole number from ${SHORTEST_ROLLING_SECONDS} to ${LONGEST_ROLLING_SECONDS}` });
  if (tenantId === EVERYBODY && per.includes('tenant_id') && countFrom !== 'now')
    errors.push({ path: 'count_from', message: 'must be "now" for a budget of every tenant of its own' });
  if (errors.length > 0) throw invalid(errors);
}

function invalid(errors: { path: string; message: string }[]): DomainError {
  return new DomainError({ code: 'budget.invalid', kind: 'invalid', publicMessage: 'the budget was not changed', errors });
}
