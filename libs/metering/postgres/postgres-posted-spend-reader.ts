import type { Nano } from '#libs/kernel/index.js';
import type { Sql } from '#libs/platform/postgres/database.js';
import { PostedSpendReader, type PostedSpend } from '../application/read-posted-spend.js';
import { BUILT_IN_SOURCES } from '../domain/source.js';
import type { PostableEvent } from '../domain/stored-event.js';
import { EVENT_COLUMNS } from './postgres-posting-store.js';

type Row = PostableEvent & {
  state: string | null;
  cost_nano: Nano | null;
  charge_nano: Nano | null;
  booked_provider: string | null;
  booked_model: string | null;
};

export class PostgresPostedSpendReader extends PostedSpendReader {
  override async page(
    sql: Sql,
    input: { tenantId: string; receivedFrom: Date; after: string | null; limit: number },
  ): Promise<{ events: PostedSpend[]; last: string | null }> {
    const rows = await sql.query<Row>(
      `SELECT ${EVENT_COLUMNS}, p.state, p.cost_nano, p.charge_nano, p.provider AS booked_provider, p.model AS booked_model
       FROM metering.event e
       LEFT JOIN LATERAL (SELECT state, cost_nano, charge_nano, provider, model FROM metering.posting WHERE event_id = e.event_id ORDER BY revision DESC LIMIT 1) p ON true
       WHERE e.tenant_id = $1 AND e.received_at >= $2 AND ($3::uuid IS NULL OR e.event_id > $3) ORDER BY e.event_id LIMIT $4`,
      [input.tenantId, input.receivedFrom, input.after, input.limit],
    );
    return { events: rows.flatMap(toPosted), last: rows.length < input.limit ? null : (rows.at(-1)?.eventId ?? null) };
  }
}

function toPosted(row: Row): PostedSpend[] {
  if (row.state !== 'posted' || row.cost_nano === null || row.charge_nano === null || row.booked_provider === null || row.booked_model === null) return [];
  return [
    {
      ...row,
      provider: row.booked_provider,
      model: row.booked_model,
      provisional: row.sourceId === BUILT_IN_SOURCES.hold,
      rerated: false,
      costNano: row.cost_nano,
      chargeNano: row.charge_nano,
    },
  ];
}
