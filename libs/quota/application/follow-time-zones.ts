/**
 * Budgets follow their tenants' time zones: other periods are other counters, so a tenant that moves gets a new version of each calendar
 * budget, back-filled like any other.
 */
import type { Clock } from '#libs/kernel/index.js';
import type { AuditLog } from '#libs/platform/audit/audit-log.js';
import type { Database } from '#libs/platform/postgres/database.js';
import type { TenantDirectory } from '#libs/tenancy/index.js';
import type { Budget } from '../domain/budget.js';
import type { BudgetStore } from './budget-store.js';
import { describeBudget } from './describe-budget.js';
import type { RuleBook } from './rule-book.js';

const ACTOR = 'system:time-zones';

export class FollowTimeZones {
  constructor(
    private readonly database: Database,
    private readonly store: BudgetStore,
    private readonly tenants: TenantDirectory,
    private readonly rules: RuleBook,
    private readonly audit: AuditLog,
    private readonly clock: Clock,
  ) {}

  /** Returns how many budgets have a new version. @throws DomainError storage.unavailable */
  async execute(): Promise<number> {
    const zones = await this.store.zones(this.database);
    const tenants = await this.tenants.findMany([...new Set(zones.map(({ tenantId }) => tenantId))]);
    let moved = 0;
    for (const { tenantId, timezone } of zones) {
      const now = tenants.get(tenantId)?.timezone;
      if (now !== undefined && now !== timezone) moved += await this.move(tenantId, timezone, now);
    }
    if (moved > 0) await this.rules.refresh();
    return moved;
  }

  private async move(tenantId: string, from: string, to: string): Promise<number> {
    return await this.store.change(tenantId, async (tx) => {
      const budgets = await this.store.inZone(tx, tenantId, from);
      const at = this.clock.now();
      for (const before of budgets) {
        const after: Budget = { ...before, timezone: to, version: before.version + 1, warming: before.countsFromMs === null, updatedAt: at };
        await this.store.save(tx, after, null);
        await this.audit.append(tx, {
          at,
          actor: ACTOR,
          action: 'budget.updated',
          entity: 'budget',
          entityId: before.budgetId,
          tenantId,
          before: describeBudget(before),
          after: describeBudget(after),
          reason: "the tenant's time zone changed",
          requestId: null,
        });
      }
      return { changed: budgets.length > 0, result: budgets.length };
    });
  }
}
