/** The poster's SQL. Every statement runs in the caller's transaction; multi-row writes are UNNEST of prebuilt arrays. */
import { formatPrice, formatUsd, type Nano } from '#libs/kernel/index.js';
import { plainArray, textArray } from '#libs/platform/postgres/array-literal.js';
import type { Sql } from '#libs/platform/postgres/database.js';
import type { RatedLine } from '#libs/pricing/index.js';
import type { LineJson } from '../application/event-reader.js';
import { PostingStore, type LastPosting, type PendingEvent, type PostingRow } from '../application/posting-store.js';
import type { StoredEvent } from '../domain/stored-event.js';
import { fromEventRow, type EventRow } from './event-rows.js';

// First key of the advisory locks that keep one poster per shard; the second is the shard.
const SHARD_LOCK = 0x706f7374;

export class PostgresPostingStore extends PostingStore {
  override async lockShard(tx: Sql, shard: number): Promise<void> {
    await tx.execute({ name: 'metering.lock-shard', text: 'SELECT pg_advisory_xact_lock($1::int, $2::int)' }, [SHARD_LOCK, shard]);
  }

  override async readPending(tx: Sql, shard: number, limit: number, only: readonly string[] | null): Promise<PendingEvent[]> {
    const rows = await tx.query<EventRow & { quarantined: boolean }>(
      {
        name: 'metering.read-pending',
        text: `SELECT e.*, q.event_id IS NOT NULL AS quarantined
               FROM (SELECT event_id, received_at FROM metering.pending
                     WHERE shard = $1 AND ($3::uuid[] IS NULL OR event_id = ANY($3::uuid[])) ORDER BY event_id LIMIT $2) p
               JOIN metering.event e ON e.event_id = p.event_id AND e.received_at = p.received_at
               LEFT JOIN metering.quarantine q ON q.event_id = p.event_id
               ORDER BY e.event_id`,
      },
      [shard, limit, only === null ? null : plainArray(only)],
    );
    return rows.map((row) => ({ event: fromEventRow(row), quarantined: row.quarantined }));
  }

  override async readLastPostings(tx: Sql, eventIds: readonly string[]): Promise<Map<string, LastPosting>> {
    if (eventIds.length === 0) return new Map();
    const rows = await tx.query<{
      event_id: string;
      revision: number;
      state: PostingRow['state'];
      transaction_id: string | null;
      cost_nano: Nano;
      charge_nano: Nano;
      interval_from: Nano | null;
      interval_to: Nano | null;
      provider: string;
      model: string;
    }>(
      `SELECT DISTINCT ON (event_id) event_id, revision, state, transaction_id, cost_nano, charge_nano, interval_from, interval_to, provider, model
       FROM metering.posting WHERE event_id = ANY($1::uuid[]) ORDER BY event_id, revision DESC`,
      [plainArray(eventIds)],
    );
    return new Map(
      rows.map((row) => [
        row.event_id,
        {
          revision: row.revision,
          state: row.state,
          transactionId: row.transaction_id,
          costNano: row.cost_nano,
          chargeNano: row.charge_nano,
          interval: row.interval_from === null || row.interval_to === null ? null : { from: row.interval_from, to: row.interval_to },
          provider: row.provider,
          model: row.model,
        },
      ]),
    );
  }

  override async readEvents(tx: Sql, eventIds: readonly string[]): Promise<Map<string, StoredEvent>> {
    if (eventIds.length === 0) return new Map();
    const rows = await tx.query<EventRow>('SELECT * FROM metering.event WHERE event_id = ANY($1::uuid[])', [plainArray(eventIds)]);
    return new Map(rows.map((row) => [row.event_id, fromEventRow(row)]));
  }

  override async stillPending(tx: Sql, shard: number, eventIds: readonly string[]): Promise<Set<string>> {
    if (eventIds.length === 0) return new Set();
    const rows = await tx.query<{ event_id: string }>('SELECT event_id FROM metering.pending WHERE shard = $1 AND event_id = ANY($2::uuid[])', [
      shard,
      plainArray(eventIds),
    ]);
    return new Set(rows.map((row) => row.event_id));
  }

  override async insertPostings(tx: Sql, rows: readonly PostingRow[]): Promise<void> {
    if (rows.length === 0) return;
    await tx.execute(
      {
        name: 'metering.insert-postings',
        text: `INSERT INTO metering.posting (event_id, revision, state, tenant_id, transaction_id, cost_nano, charge_nano, lines, price_version,
                 interval_from, interval_to, reason, posted_at, provider, model)
               SELECT event_id, revision, state, tenant_id, transaction_id, cost_nano, charge_nano, lines, price_version, interval_from, interval_to, reason, $13, provider, model
               FROM unnest($1::uuid[], $2::integer[], $3::text[], $4::text[], $5::uuid[], $6::bigint[], $7::bigint[], $8::jsonb[], $9::text[], $10::bigint[], $11::bigint[], $12::text[],
                 $14::text[], $15::text[])
                 AS row (event_id, revision, state, tenant_id, transaction_id, cost_nano, charge_nano, lines, price_version, interval_from, interval_to, reason, provider, model)`,
      },
      [
        plainArray(rows.map((row) => row.eventId)),
        plainArray(rows.map((row) => row.revision)),
        plainArray(rows.map((row) => row.state)),
        textArray(rows.map((row) => row.tenantId)),
        plainArray(rows.map((row) => row.transactionId)),
        plainArray(rows.map((row) => row.costNano)),
        plainArray(rows.map((row) => row.chargeNano)),
        textArray(rows.map((row) => JSON.stringify(row.lines.map(toLineJson)))),
        textArray(rows.map((row) => row.priceVersion)),
        plainArray(rows.map((row) => row.interval?.from ?? null)),
        plainArray(rows.map((row) => row.interval?.to ?? null)),
        textArray(rows.map((row) => row.reason)),
        rows[0]?.postedAt,
        textArray(rows.map((row) => row.provider)),
        textArray(rows.map((row) => row.model)),
      ],
    );
  }

  override async deletePending(tx: Sql, shard: number, eventIds: readonly string[]): Promise<void> {
    await tx.execute({ name: 'metering.delete-pending', text: 'DELETE FROM metering.pending WHERE shard = $1 AND event_id = ANY($2::uuid[])' }, [
      shard,
      plainArray(eventIds),
    ]);
  }

  override async openQuarantine(tx: Sql, entries: readonly { event: StoredEvent; reason: string }[], since: Date): Promise<void> {
    if (entries.length === 0) return;
    await tx.execute(
      `INSERT INTO metering.quarantine (event_id, tenant_id, reason, provider, model, received_at, since)
       SELECT event_id, tenant_id, reason, provider, model, received_at, $7 FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[])
         AS row (event_id, tenant_id, reason, provider, model, received_at)
       ON CONFLICT (event_id) DO UPDATE SET reason = excluded.reason`,
      [
        entries.map(({ event }) => event.eventId),
        entries.map(({ event }) => event.tenantId),
        entries.map(({ reason }) => reason),
        entries.map(({ event }) => event.provider),
        entries.map(({ event }) => event.model),
        entries.map(({ event }) => event.receivedAt),
        since,
      ],
    );
  }

  override async closeQuarantine(tx: Sql, eventIds: readonly string[]): Promise<void> {
    if (eventIds.length === 0) return;
    await tx.execute('DELETE FROM metering.quarantine WHERE event_id = ANY($1::uuid[])', [plainArray(eventIds)]);
  }
}

function toLineJson(line: RatedLine): LineJson {
  return {
    component: line.component,
    quantity: line.quantity,
    unit_price: formatPrice(line.unitPrice),
    cost_usd: formatUsd(line.costNano),
    charge_usd: formatUsd(line.chargeNano),
  };
}
