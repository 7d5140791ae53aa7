import type { Sql } from '#libs/platform/postgres/database.js';

/** Calls by bucket of output size for one (tenant, feature, model). */
export async function readOutputSizes(sql: Sql, tenantId: string, feature: string, model: string): Promise<ReadonlyMap<number, bigint>> {
  const rows = await sql.query<{ bucket: number; calls: bigint }>(
    { name: 'quota.output-sizes', text: 'SELECT bucket, calls FROM quota.output_size WHERE tenant_id = $1 AND feature = $2 AND model = $3' },
    [tenantId, feature, model],
  );
  return new Map(rows.map((row) => [row.bucket, row.calls]));
}
