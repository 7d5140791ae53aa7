import type { Clock } from '../../kernel/index.js';
import type { AuditLog, ChangeContext } from '../../platform/audit/audit-log.js';
import type { Database } from '../../platform/postgres/database.js';
import type { Plan } from '../domain/plan.js';
import { describePlan } from './audit-wire.js';
import type { PlanRepository } from './ports.js';
import type { TenantDirectory } from './tenant-directory.js';

/** Creates or replaces a plan, audited in the same transaction. The same state again writes nothing. */
export class PutPlan {
  constructor(
    private readonly database: Database,
    private readonly plans: PlanRepository,
    private readonly directory: TenantDirectory,
    private readonly audit: AuditLog,
    private readonly clock: Clock,
  ) {}

  async execute(input: { planId: string; name: string; rateCardId: string | null; context: ChangeContext }): Promise<Plan> {
    const plan = await this.database.transaction(async (tx) => {
      const before = await this.plans.lock(tx, input.planId);
      const at = this.clock.now();
      const after: Plan = { planId: input.planId, name: input.name, rateCardId: input.rateCardId, createdAt: before?.createdAt ?? at, updatedAt: at };
      if (before !== null && before.name === after.name && before.rateCardId === after.rateCardId) return before;
      await this.plans.save(tx, after);
      await this.audit.append(tx, {
        at,
        actor: input.context.actor,
        action: before === null ? 'plan.created' : 'plan.updated',
        entity: 'plan',
        entityId: input.planId,
        tenantId: null,
        before: before === null ? null : describePlan(before),
        after: describePlan(after),
        reason: null,
        requestId: input.context.requestId,
      });
      return after;
    });
    this.directory.forget();
    return plan;
  }
}
