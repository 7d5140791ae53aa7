import type { Nano } from '#libs/kernel/index.js';
import type { Database } from '#libs/platform/postgres/database.js';
import { EventReader, type EventFilter, type EventView, type PostingView } from '../application/event-reader.js';
import { fromEventRow, type EventRow } from './event-rows.js';
import { readLines } from './posting-lines.js';

const COLUMNS: readonly [keyof EventFilter, string][] = [
  ['tenantId', 'tenant_id'],
  ['userId', 'user_id'],
  ['feature', 'feature'],
  ['environment', 'environment'],
  ['assistantId', 'assistant_id'],
  ['threadId', 'thread_id'],
  ['apiKeyId', 'api_key_id'],
  ['requestId', 'request_id'],
  ['callId', 'call_id'],
  ['provider', 'provider'],
  ['model', 'model'],
  ['sourceId', 'source_id'],
  ['externalId', 'external_id'],
  ['status', 'status'],
  ['quality', 'quality'],
];

interface PostingJoin {
  revision: number | null;
  state: PostingView['state'];
  transaction_id: string | null;
  cost_nano: Nano;
  charge_nano: Nano;
  lines: string;
  price_version: string | null;
  interval_from: Nano | null;
  interval_to: Nano | null;
  reason: string | null;
  posted_at: Date;
}

const POSTING_COLUMNS =
  'p.revision, p.state, p.transaction_id, p.cost_nano, p.charge_nano, p.lines, p.price_version, p.interval_from, p.interval_to, p.reason, p.posted_at';

export class PostgresEventReader extends EventReader {
  constructor(private readonly database: Database) {
    super();
  }

  override async list(input: { filter: EventFilter; limit: number; before: string | null }): Promise<EventView[]> {
    const params: unknown[] = [];
    const where: string[] = [];
    const add = (condition: (placeholder: string) => string, value: unknown): void => {
      params.push(value);
      where.push(condition(`$${params.length}`));
    };
    for (const [name, column] of COLUMNS) {
      const value = input.filter[name];
      if (value !== undefined) add((placeholder) => `e.${column} = ${placeholder}`, value);
    }
    if (input.filter.from) add((placeholder) => `e.occurred_at >= ${placeholder}`, input.filter.from);
    if (input.filter.to) add((placeholder) => `e.occurred_at < ${placeholder}`, input.filter.to);
    if (input.before !== null) add((placeholder) => `e.event_id < ${placeholder}`, input.before);
    params.push(input.limit);
    const rows = await this.database.query<EventRow & PostingJoin>(
      `SELECT e.*, ${POSTING_COLUMNS}
       FROM (SELECT * FROM metering.event e ${where.length > 0 ? `WHERE ${where.join(' AND ')}` : ''} ORDER BY e.event_id DESC LIMIT $${params.length}) e
       LEFT JOIN LATERAL (SELECT * FROM metering.posting p WHERE p.event_id = e.event_id ORDER BY p.revision DESC LIMIT 1) p ON true
       ORDER BY e.event_id DESC`,
      params,
    );
    return rows.map((row) => ({ event: fromEventRow(row), postings: row.revision === null ? [] : [toPosting(row)] }));
  }

  override async get(input: { eventId: string; tenantId: string | null }): Promise<EventView | null> {
    const [row] = await this.database.query<EventRow>('SELECT * FROM metering.event WHERE event_id = $1 AND ($2::text IS NULL OR tenant_id = $2)', [
      input.eventId,
      input.tenantId,
    ]);
    if (!row) return null;
    const postings = await this.database.query<PostingJoin>(
      `SELECT ${POSTING_COLUMNS} FROM metering.posting p WHERE p.event_id = $1 ORDER BY p.revision DESC`,
      [input.eventId],
    );
    return { event: fromEventRow(row), postings: postings.map(toPosting) };
  }
}

function toPosting(row: PostingJoin): PostingView {
  return {
    revision: row.revision ?? 0,
    state: row.state,
    transactionId: row.transaction_id,
    costNano: row.cost_nano,
    chargeNano: row.charge_nano,
    lines: readLines(row.lines),
    priceVersion: row.price_version,
    interval: row.interval_from === null || row.interval_to === null ? null : { from: row.interval_from, to: row.interval_to },
    reason: row.reason,
    provisional: row.state === 'posted' && row.reason !== null,
    postedAt: row.posted_at,
  };
}
