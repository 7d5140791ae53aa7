import type { Database } from '../../platform/postgres/database.js';
import type { Plan } from '../domain/plan.js';
import type { PlanRepository } from './ports.js';

/** Plans by id; reads `limit + 1` rows, so that the caller sees whether more follow. */
export class ListPlans {
  constructor(
    private readonly database: Database,
    private readonly plans: PlanRepository,
  ) {}

  async execute(filter: { after?: string | undefined; limit: number }): Promise<Plan[]> {
    return await this.plans.list(this.database, { ...filter, limit: filter.limit + 1 });
  }
}
