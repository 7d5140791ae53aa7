import type { Json } from '#libs/kernel/index.js';
import type { Database } from '#libs/platform/postgres/database.js';
import { CrossingReader, type Crossing } from '../application/crossing-reader.js';
import { toScope } from './budget-rows.js';

interface Row {
  crossing_id: string;
  tenant_id: string;
  budget_id: string;
  version: number;
  values: { [key: string]: Json };
  metric: Crossing['metric'];
  percent: number;
  action: Crossing['action'];
  limit_value: bigint;
  used_value: bigint;
  period_ms: bigint;
  period_ends: Date | null;
  crossed_at: Date;
}

export class PostgresCrossingReader extends CrossingReader {
  constructor(private readonly database: Database) {
    super();
  }

  override async list(filter: { tenantId?: string | undefined; after?: string | undefined; limit: number }): Promise<Crossing[]> {
    const rows = await this.database.query<Row>(
      `SELECT crossing_id, tenant_id, budget_id, version, "values", metric, percent, action, limit_value, used_value, period_ms, period_ends, crossed_at
       FROM quota.crossing WHERE ($1::text IS NULL OR tenant_id = $1) AND ($2::uuid IS NULL OR crossing_id > $2) ORDER BY crossing_id LIMIT $3`,
      [filter.tenantId ?? null, filter.after ?? null, filter.limit],
    );
    return rows.map((row) => ({
      crossingId: row.crossing_id,
      tenantId: row.tenant_id,
      budgetId: row.budget_id,
      version: row.version,
      values: toScope(row.values),
      metric: row.metric,
      percent: row.percent,
      action: row.action,
      limit: row.limit_value,
      used: row.used_value,
      periodStartsAt: new Date(Number(row.period_ms)),
      periodEndsAt: row.period_ends,
      crossedAt: row.crossed_at,
    }));
  }
}
