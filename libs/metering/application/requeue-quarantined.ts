import { plainArray } from '#libs/platform/postgres/array-literal.js';
import type { Database } from '#libs/platform/postgres/database.js';
import { shardOf } from '../domain/shard.js';
import type { SpendWakeUp } from '#libs/platform/queue/spend-wake-up.js';

const PAGE = 1_000;

/**
 * Sends quarantined events through the poster again, after a price, alias or rate card changed. Those that still cannot be rated come
 * back to quarantine. An event without usage is left alone: only a better report can settle it.
 */
export class RequeueQuarantined {
  constructor(
    private readonly database: Database,
    private readonly wakeUp: SpendWakeUp,
  ) {}

  /** Returns how many were put back in the work list; each at most once however often this runs. */
  async execute(): Promise<{ requeued: number }> {
    let requeued = 0;
    let after = '00000000-0000-0000-0000-000000000000';
    for (;;) {
      const rows = await this.database.query<{ event_id: string; tenant_id: string; received_at: Date }>(
        `SELECT event_id, tenant_id, received_at FROM metering.quarantine WHERE event_id > $1 AND reason <> 'usage_unknown' ORDER BY event_id LIMIT ${PAGE}`,
        [after],
      );
      const last = rows.at(-1);
      if (!last) return { requeued };
      after = last.event_id;
      requeued += await this.database.execute(
        `INSERT INTO metering.pending (shard, event_id, received_at, requeued)
         SELECT *, true FROM unnest($1::smallint[], $2::uuid[], $3::timestamptz[]) ON CONFLICT DO NOTHING`,
        [plainArray(rows.map((row) => shardOf(row.tenant_id))), plainArray(rows.map((row) => row.event_id)), rows.map((row) => row.received_at)],
      );
      this.wakeUp.wake([...new Set(rows.map((row) => shardOf(row.tenant_id)))]);
    }
  }
}
