import type { Sql } from '../../platform/postgres/database.js';
import { PlanRepository } from '../application/ports.js';
import type { Plan } from '../domain/plan.js';

const COLUMNS = 'plan_id, name, rate_card_id, created_at, updated_at';

export class PostgresPlanRepository extends PlanRepository {
  override async find(sql: Sql, planId: string): Promise<Plan | null> {
    const rows = await sql.query<PlanRow>(`SELECT ${COLUMNS} FROM tenancy.plan WHERE plan_id = $1`, [planId]);
    return rows[0] === undefined ? null : toPlan(rows[0]);
  }

  override async lock(tx: Sql, planId: string): Promise<Plan | null> {
    await tx.execute(`SELECT pg_advisory_xact_lock(hashtextextended('tenancy.plan:' || $1, 0))`, [planId]);
    return await this.find(tx, planId);
  }

  override async list(sql: Sql, filter: { after?: string | undefined; limit: number }): Promise<Plan[]> {
    const rows = await sql.query<PlanRow>(`SELECT ${COLUMNS} FROM tenancy.plan WHERE ($1::text IS NULL OR plan_id > $1) ORDER BY plan_id LIMIT $2`, [
      filter.after ?? null,
      filter.limit,
    ]);
    return rows.map(toPlan);
  }

  override async save(tx: Sql, plan: Plan): Promise<void> {
    await tx.execute(
      `INSERT INTO tenancy.plan (${COLUMNS}) VALUES ($1, $2, $3, $4, $5)
       ON CONFLICT (plan_id) DO UPDATE SET name = excluded.name, rate_card_id = excluded.rate_card_id, updated_at = excluded.updated_at`,
      [plan.planId, plan.name, plan.rateCardId, plan.createdAt, plan.updatedAt],
    );
  }
}

interface PlanRow {
  plan_id: string;
  name: string;
  rate_card_id: string | null;
  created_at: Date;
  updated_at: Date;
}

function toPlan(row: PlanRow): Plan {
  return { planId: row.plan_id, name: row.name, rateCardId: row.rate_card_id, createdAt: row.created_at, updatedAt: row.updated_at };
}
