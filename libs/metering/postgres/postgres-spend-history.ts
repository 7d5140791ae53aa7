import type { Nano } from '#libs/kernel/index.js';
import type { Sql } from '#libs/platform/postgres/database.js';
import { SpendHistory, type PastSpend, type SpendPages } from '../application/read-spend-history.js';
import { BUILT_IN_SOURCES } from '../domain/source.js';
import type { PostableEvent } from '../domain/stored-event.js';
import { EVENT_COLUMNS } from './postgres-posting-store.js';

type Row = PostableEvent & { cost_nano: Nano; charge_nano: Nano; booked_provider: string; booked_model: string; booked_at: Date };

/** Events may be dated so far ahead of their receipt, so none was received earlier than this before it occurred. */
const AHEAD_MS = 5 * 60_000;

/** Sorted once by the database: no index has the order of occurrence, and a sort for every page would cost the square of the history. */
export class PostgresSpendHistory extends SpendHistory {
  override async open(tx: Sql, input: { tenantId: string; from: Date; to: Date; atMost: number; pageSize: number }): Promise<SpendPages> {
    await tx.execute(
      `DECLARE spend_history NO SCROLL CURSOR FOR
       SELECT ${EVENT_COLUMNS}, p.cost_nano, p.charge_nano, p.provider AS booked_provider, p.model AS booked_model, b.booked_at
       FROM metering.event e
       JOIN LATERAL (SELECT state, cost_nano, charge_nano, provider, model FROM metering.posting WHERE event_id = e.event_id ORDER BY revision DESC LIMIT 1) p
         ON p.state = 'posted'
       JOIN LATERAL (SELECT min(posted_at) AS booked_at FROM metering.posting WHERE event_id IN (e.event_id, e.corrects_event_id) AND state = 'posted') b ON true
       WHERE e.tenant_id = $1 AND e.received_at >= $2 AND e.occurred_at >= $3 AND e.occurred_at < $4
       ORDER BY e.occurred_at, e.event_id LIMIT $5`,
      [input.tenantId, new Date(input.from.getTime() - AHEAD_MS), input.from, input.to, input.atMost],
    );
    return async () => (await tx.query<Row>(`FETCH ${input.pageSize} FROM spend_history`)).map(toPast);
  }
}

function toPast(row: Row): PastSpend {
  return {
    ...row,
    provider: row.booked_provider,
    model: row.booked_model,
    provisional: row.sourceId === BUILT_IN_SOURCES.hold,
    rerated: false,
    costNano: row.cost_nano,
    chargeNano: row.charge_nano,
    bookedAt: row.booked_at,
  };
}
