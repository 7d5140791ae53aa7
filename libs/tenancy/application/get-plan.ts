import type { Database } from '../../platform/postgres/database.js';
import type { Plan } from '../domain/plan.js';
import type { PlanRepository } from './ports.js';

/** One plan, or null. */
export class GetPlan {
  constructor(
    private readonly database: Database,
    private readonly plans: PlanRepository,
  ) {}

  async execute(planId: string): Promise<Plan | null> {
    return await this.plans.find(this.database, planId);
  }
}
