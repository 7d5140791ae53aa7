/** The poster's SQL. Every statement runs in the caller's transaction; multi-row writes are UNNEST of prebuilt arrays. */
import type { Nano } from '#libs/kernel/index.js';
import { plainArray, textArray, timeArray } from '#libs/platform/postgres/array-literal.js';
import type { Sql } from '#libs/platform/postgres/database.js';
import { PostingStore, type LastPosting, type PendingEvent, type PostingRow } from '../application/posting-store.js';
import type { PostableEvent } from '../domain/stored-event.js';
import { writeLines } from './posting-lines.js';

// First key of the advisory locks that keep one poster per shard; the second is the shard.
const SHARD_LOCK = 0x706f7374;

// What posting costs must follow from the batch, never from history. Prepared statements keep the plan of the day they were first run: on
// a new database, or on the first of a month when the partition is empty, that plan reads whole tables, and goes on to when they are large.
// So in this transaction nothing is read whole: every row is looked up by its key.
const LOCK = {
  name: 'metering.lock-shard',
  text: `SELECT pg_advisory_xact_lock($1::int, $2::int),
                set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true)`,
};

// Named as the program names them: the driver's row is the event, and no second object is made of each.
export const EVENT_COLUMNS = `e.event_id AS "eventId", e.received_at AS "receivedAt", e.occurred_at AS "occurredAt", e.source_id AS "sourceId", e.tenant_id AS "tenantId",
  e.status, e.usage, e.claimed_cost_nano AS "claimedCostNano", e.cost_trusted AS "costTrusted", e.provider, e.model, e.requested_model AS "requestedModel",
  e.call_id AS "callId", e.hold_id AS "holdId", e.ends_call AS "endsCall", e.corrects_event_id AS "correctsEventId", e.user_id AS "userId", e.feature, e.environment,
  e.assistant_id AS "assistantId", e.thread_id AS "threadId", e.api_key_id AS "apiKeyId", e.request_id AS "requestId", e.tags`;

// One statement takes and reads: what a later one would delete by its ids was found here already. The shard's lock makes a row's place
// (ctid) good until it is deleted, and rows that come in meanwhile are in nobody's list.
const take = (which: string): string => `WITH taken AS (
    DELETE FROM metering.pending WHERE ctid = ANY (ARRAY(SELECT ctid FROM metering.pending WHERE shard = $1 ${which}))
    RETURNING event_id, received_at, requeued
  )
  SELECT ${EVENT_COLUMNS}, taken.requeued AS quarantined
  FROM taken JOIN metering.event e ON e.event_id = taken.event_id AND e.received_at = taken.received_at ORDER BY e.event_id`;
const TAKE_OLDEST = { name: 'metering.take-pending', text: take('ORDER BY event_id LIMIT $2') };
const TAKE_NAMED = { name: 'metering.take-named', text: take('AND event_id = ANY ($2::uuid[])') };

export class PostgresPostingStore extends PostingStore {
  override async lockShard(tx: Sql, shard: number): Promise<void> {
    await tx.execute(LOCK, [SHARD_LOCK, shard]);
  }

  override async takePending(tx: Sql, shard: number, limit: number, only: readonly string[] | null): Promise<PendingEvent[]> {
    return only === null ? await tx.query<PendingEvent>(TAKE_OLDEST, [shard, limit]) : await tx.query<PendingEvent>(TAKE_NAMED, [shard, plainArray(only)]);
  }

  override async putBack(tx: Sql, shard: number, events: readonly PendingEvent[]): Promise<void> {
    if (events.length === 0) return;
    // Waiting since it came; when it was requeued is not known any more.
    await tx.execute(
      `INSERT INTO metering.pending (shard, event_id, received_at, requeued, queued_at)
       SELECT $1::smallint, event_id, received_at, requeued, CASE WHEN requeued THEN now() ELSE received_at END
       FROM unnest($2::uuid[], $3::timestamptz[], $4::boolean[]) AS row (event_id, received_at, requeued)`,
      [
        shard,
        plainArray(events.map((event) => event.eventId)),
        timeArray(events.map((event) => event.receivedAt)),
        plainArray(events.map((event) => event.quarantined)),
      ],
    );
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

  override async readEvents(tx: Sql, eventIds: readonly string[]): Promise<Map<string, PostableEvent>> {
    if (eventIds.length === 0) return new Map();
    const events = await tx.query<PostableEvent>(`SELECT ${EVENT_COLUMNS} FROM metering.event e WHERE e.event_id = ANY($1::uuid[])`, [plainArray(eventIds)]);
    return new Map(events.map((event) => [event.eventId, event]));
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
               FROM unnest($1::uuid[], $2::integer[], $3::text[], $4::text[], $5::uuid[], $6::bigint[], $7::bigint[], $8::text[], $9::text[], $10::bigint[], $11::bigint[], $12::text[],
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
        textArray(rows.map((row) => writeLines(row.lines))),
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

  override async openQuarantine(tx: Sql, entries: readonly { event: PostableEvent; reason: string }[], since: Date): Promise<void> {
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
