/** The poster's SQL. Every statement runs in the caller's transaction; multi-row writes are UNNEST of prebuilt arrays. */
import type { Nano } from '#libs/kernel/index.js';
import { plainArray, timeArray } from '#libs/platform/postgres/array-literal.js';
import { copyPlain, copyText } from '#libs/platform/postgres/copy-in.js';
import type { Sql } from '#libs/platform/postgres/database.js';
import { PostingStore, type LastPosting, type PendingEvent, type PostingRow } from '../application/posting-store.js';
import type { PostableEvent } from '../domain/stored-event.js';
import type { RecentEvents } from '../memory/recent-events.js';
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

// What a later statement would delete by its ids was found here already. The shard's lock makes a row's place (ctid) good until it is
// deleted, and rows that come in meanwhile are in nobody's list.
const take = (which: string, select: string): string => `WITH taken AS (
    DELETE FROM metering.pending WHERE ctid = ANY (ARRAY(SELECT ctid FROM metering.pending WHERE shard = $1 ${which}))
    RETURNING event_id, received_at, requeued
  )
  ${select}`;
const OLDEST = 'ORDER BY event_id LIMIT $2';
const JOIN_EVENTS = `JOIN metering.event e ON e.event_id = taken.event_id AND e.received_at = taken.received_at`;
const WITH_EVENTS = `SELECT ${EVENT_COLUMNS}, taken.requeued AS quarantined FROM taken ${JOIN_EVENTS} ORDER BY e.event_id`;
const TAKE_OLDEST = { name: 'metering.take-pending', text: take(OLDEST, WITH_EVENTS) };
const TAKE_NAMED = { name: 'metering.take-named', text: take('AND event_id = ANY ($2::uuid[])', WITH_EVENTS) };
// Three texts instead of a row each: ids alone are what is wanted when the events are at hand.
const TAKE_IDS = {
  name: 'metering.take-pending-ids',
  text: take(
    OLDEST,
    `SELECT array_agg(event_id ORDER BY event_id)::text AS ids, array_agg(received_at ORDER BY event_id)::text AS received,
            array_agg(event_id ORDER BY event_id) FILTER (WHERE requeued)::text AS requeued FROM taken`,
  ),
};
const READ_TAKEN = {
  name: 'metering.read-taken',
  text: `SELECT ${EVENT_COLUMNS} FROM unnest($1::uuid[], $2::timestamptz[]) AS taken (event_id, received_at) ${JOIN_EVENTS}`,
};

const POSTING_COLUMNS = [
  'event_id',
  'revision',
  'state',
  'tenant_id',
  'transaction_id',
  'cost_nano',
  'charge_nano',
  'lines',
  'price_version',
  'interval_from',
  'interval_to',
  'reason',
  'posted_at',
  'provider',
  'model',
];

export class PostgresPostingStore extends PostingStore {
  constructor(private readonly recent: RecentEvents) {
    super();
  }

  override async lockShard(tx: Sql, shard: number): Promise<void> {
    await tx.execute(LOCK, [SHARD_LOCK, shard]);
  }

  override async takePending(tx: Sql, shard: number, limit: number, only: readonly string[] | null): Promise<PendingEvent[]> {
    this.recent.want();
    if (only !== null) return await tx.query<PendingEvent>(TAKE_NAMED, [shard, plainArray(only)]);
    return this.recent.isEmpty ? await tx.query<PendingEvent>(TAKE_OLDEST, [shard, limit]) : await this.takeFromMemory(tx, shard, limit);
  }

  private async takeFromMemory(tx: Sql, shard: number, limit: number): Promise<PendingEvent[]> {
    const [taken] = await tx.query<{ ids: string | null; received: string | null; requeued: string | null }>(TAKE_IDS, [shard, limit]);
    const ids = elementsOf(taken?.ids);
    const found = new Map<string, PostableEvent>();
    const missing: number[] = [];
    ids.forEach((eventId, index) => {
      const event = this.recent.take(eventId);
      if (event === undefined) missing.push(index);
      else found.set(eventId, event);
    });
    if (missing.length > 0) {
      const received = elementsOf(taken?.received);
      const columns = [ids, received].map((elements) => plainArray(missing.map((index) => elements[index] ?? null)));
      for (const event of await tx.query<PostableEvent>(READ_TAKEN, columns)) found.set(event.eventId, event);
    }
    const requeued = new Set(elementsOf(taken?.requeued));
    return ids.flatMap((eventId) => {
      const event = found.get(eventId);
      return event === undefined ? [] : [{ ...event, quarantined: requeued.has(eventId) }];
    });
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
      reason: string | null;
    }>(
      `SELECT DISTINCT ON (event_id) event_id, revision, state, transaction_id, cost_nano, charge_nano, interval_from, interval_to, provider, model, reason
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
          reason: row.reason,
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
    let text = '';
    for (const row of rows) {
      text += `${row.eventId}\t${row.revision}\t${row.state}\t${copyText(row.tenantId)}\t${copyPlain(row.transactionId)}\t${row.costNano}\t${row.chargeNano}\t`;
      text += `${copyText(writeLines(row.lines))}\t${copyText(row.priceVersion)}\t${copyPlain(row.interval?.from ?? null)}\t${copyPlain(row.interval?.to ?? null)}\t`;
      text += `${copyText(row.reason)}\t${row.postedAt.toISOString()}\t${copyText(row.provider)}\t${copyText(row.model)}\n`;
    }
    await tx.copy([{ table: 'metering.posting', columns: POSTING_COLUMNS, rows: text }]);
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

/** The elements of an array of ids or times as PostgreSQL prints it. Quotes stay, so that they can be sent back. */
function elementsOf(array: string | null | undefined): string[] {
  return array === null || array === undefined ? [] : array.slice(1, -1).split(',');
}
