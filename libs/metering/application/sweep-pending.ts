import { DAY_MS, type Clock } from '#libs/kernel/index.js';
import type { Database } from '#libs/platform/postgres/database.js';
import { SHARD_COUNT } from '../domain/shard.js';

/** Finds what a lost wake-up left behind: the queue is a convenience, the work list in PostgreSQL is the truth. */
export class SweepPending {
  constructor(private readonly database: Database) {}

  /** The shards that have work, each at most once. @throws DomainError storage.unavailable */
  async execute(): Promise<number[]> {
    const rows = await this.database.query<{ shard: number }>(
      'SELECT shard FROM generate_series(0, $1::int - 1) AS shard WHERE EXISTS (SELECT FROM metering.pending p WHERE p.shard = shard.shard)',
      [SHARD_COUNT],
    );
    return rows.map((row) => row.shard);
  }
}

/** How long the oldest acknowledged event has waited to be posted; readiness turns red above ten seconds. */
export class MeasurePostingLag {
  constructor(
    private readonly database: Database,
    private readonly clock: Clock,
  ) {}

  async execute(): Promise<{ lagMs: number }> {
    // The first work item of each shard is its oldest: ids are in order of arrival. Never a scan of the list.
    const [row] = await this.database.query<{ oldest: Date | null }>(
      `SELECT min(first.queued_at) AS oldest FROM generate_series(0, $1::int - 1) AS shard
       CROSS JOIN LATERAL (SELECT queued_at FROM metering.pending p WHERE p.shard = shard.shard ORDER BY event_id LIMIT 1) AS first`,
      [SHARD_COUNT],
    );
    const oldest = row?.oldest ?? null;
    return { lagMs: oldest === null ? 0 : Math.max(0, this.clock.now().getTime() - oldest.getTime()) };
  }
}

/** Makes the partitions of the coming months, so that no month starts without one. */
export class KeepPartitionsAhead {
  constructor(private readonly database: Database) {}

  async execute(): Promise<void> {
    await this.database.execute('SELECT metering.ensure_event_partitions(12)');
  }
}

/**
 * Forgets event ids a week after the window in which their events are accepted: an unchanged resend is then refused as too old,
 * never booked twice.
 */
export class ForgetOldEventKeys {
  constructor(
    private readonly database: Database,
    private readonly clock: Clock,
    private readonly settings: { readonly eventMaxAgeDays: number },
  ) {}

  async execute(): Promise<number> {
    const before = new Date(this.clock.now().getTime() - (this.settings.eventMaxAgeDays + 7) * DAY_MS);
    return await this.database.execute('DELETE FROM metering.event_key WHERE received_at < $1', [before]);
  }
}
