import type { Sql } from '#libs/platform/postgres/database.js';
import { HoldHistory } from '../application/hold-history.js';
import { NOT_PROMISED, type Hold } from '../domain/hold.js';
import { fromHoldRow, type HoldRow } from './hold-rows.js';

/** The smallest id that can be made at `atMs`: ids begin with the millisecond they were made in. */
function firstIdAt(atMs: number): string {
  const hex = Math.max(0, atMs).toString(16).padStart(12, '0');
  return `${hex.slice(0, 8)}-${hex.slice(8)}-0000-0000-000000000000`;
}

export class PostgresHoldHistory extends HoldHistory {
  override async page(tx: Sql, input: { tenantId: string; fromMs: number; toMs: number; after: string | null; limit: number }): Promise<readonly Hold[]> {
    const rows = await tx.query<HoldRow>(
      `SELECT * FROM quota.hold WHERE tenant_id = $1 AND hold_id >= $2 AND hold_id < $3 AND ($4::uuid IS NULL OR hold_id > $4)
         AND kind = 'call' AND resolution IS DISTINCT FROM $5 ORDER BY hold_id LIMIT $6`,
      [input.tenantId, firstIdAt(input.fromMs), firstIdAt(input.toMs), input.after, NOT_PROMISED, input.limit],
    );
    return rows.map(fromHoldRow);
  }

  override async downgraded(tx: Sql, input: { tenantId: string; fromMs: number; toMs: number }): Promise<ReadonlySet<string>> {
    const rows = await tx.query<{ hold_id: string }>(
      `SELECT hold_id FROM quota.decision WHERE tenant_id = $1 AND decision_id >= $2 AND decision_id < $3 AND decision = 'downgrade' AND hold_id IS NOT NULL`,
      [input.tenantId, firstIdAt(input.fromMs), firstIdAt(input.toMs)],
    );
    return new Set(rows.map((row) => row.hold_id));
  }

  override async refused(tx: Sql, input: { tenantId: string; fromMs: number; toMs: number }): Promise<number> {
    const [row] = await tx.query<{ refused: bigint }>(
      `SELECT count(*) AS refused FROM quota.decision WHERE tenant_id = $1 AND decision_id >= $2 AND decision_id < $3 AND decision = 'block'`,
      [input.tenantId, firstIdAt(input.fromMs), firstIdAt(input.toMs)],
    );
    return Number(row?.refused ?? 0n);
  }
}
