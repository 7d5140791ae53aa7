import { plainArray } from '../postgres/array-literal.js';
import type { Sql } from '../postgres/database.js';

/** A fact on its way to the process that keeps state in memory. */
export interface WaitingRow {
  readonly outboxId: bigint;
  readonly tenantId: string;
  readonly tenantSeq: bigint | null;
  readonly topic: string;
  readonly payload: Readonly<Record<string, unknown>>;
}

/**
 * Up to `limit` waiting rows of `topics` behind the row `after`, oldest first; a row of a transaction that commits late is seen late. Read and removed in two
 * steps: a removal whose answer was lost would otherwise lose the fact, while one that is applied twice is recognised by its tenant_seq.
 */
export async function readOutbox(sql: Sql, topics: readonly string[], limit: number, after = 0n): Promise<WaitingRow[]> {
  const rows = await sql.query<{ outbox_id: bigint; tenant_id: string; tenant_seq: bigint | null; topic: string; payload: Record<string, unknown> }>(
    {
      name: 'platform.read-outbox',
      text: 'SELECT outbox_id, tenant_id, tenant_seq, topic, payload FROM platform.outbox WHERE topic = ANY($1::text[]) AND outbox_id > $3 ORDER BY outbox_id LIMIT $2',
    },
    [topics, limit, after],
  );
  return rows.map((row) => ({ outboxId: row.outbox_id, tenantId: row.tenant_id, tenantSeq: row.tenant_seq, topic: row.topic, payload: row.payload }));
}

/** Removes rows that were applied. */
export async function dropOutbox(sql: Sql, rows: readonly WaitingRow[]): Promise<void> {
  if (rows.length === 0) return;
  await sql.execute({ name: 'platform.drop-outbox', text: 'DELETE FROM platform.outbox WHERE outbox_id = ANY($1::bigint[])' }, [
    plainArray(rows.map((row) => row.outboxId)),
  ]);
}
