/**
 * Facts written in the transaction that made them true. A reader that misses rows about money re-reads the tenant from its tables when it
 * sees a gap in tenant_seq, so those may be trimmed by age without losing any; what nobody could find again is kept until it was acted on.
 */
import { plainArray, textArray } from '../postgres/array-literal.js';
import type { Sql } from '../postgres/database.js';

export interface OutboxRow {
  readonly tenantId: string;
  /** The tenant's money sequence, or null for a fact that moved no money. */
  readonly tenantSeq: bigint | null;
  readonly topic: string;
  readonly payload: Readonly<Record<string, unknown>>;
}

/** Appends `rows` in the caller's transaction. */
export async function appendOutbox(tx: Sql, rows: readonly OutboxRow[]): Promise<void> {
  if (rows.length === 0) return;
  await tx.execute(
    {
      name: 'platform.append-outbox',
      text: `INSERT INTO platform.outbox (tenant_id, tenant_seq, topic, payload)
             SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[], $4::jsonb[])`,
    },
    [
      textArray(rows.map((row) => row.tenantId)),
      plainArray(rows.map((row) => row.tenantSeq)),
      textArray(rows.map((row) => row.topic)),
      textArray(rows.map((row) => JSON.stringify(row.payload))),
    ],
  );
}

/** Removes rows older than `olderThan` but those of `kept` topics; returns how many. */
export async function trimOutbox(sql: Sql, olderThan: Date, kept: readonly string[]): Promise<number> {
  return await sql.execute('DELETE FROM platform.outbox WHERE created_at < $1 AND NOT topic = ANY($2::text[])', [olderThan, kept]);
}
