/** Events as people look at them: what was reported, what was booked for it, and what waits. */
import type { Nano } from '#libs/kernel/index.js';
import type { Database } from '#libs/platform/postgres/database.js';
import type { StoredEvent } from '../domain/stored-event.js';
import { fromEventRow, type EventRow } from './event-rows.js';
import type { LineJson } from './posting-store.js';

/** Filters by equality; absent means any. */
export interface EventFilter {
  readonly tenantId?: string | undefined;
  readonly userId?: string | undefined;
  readonly feature?: string | undefined;
  readonly environment?: string | undefined;
  readonly assistantId?: string | undefined;
  readonly threadId?: string | undefined;
  readonly apiKeyId?: string | undefined;
  readonly requestId?: string | undefined;
  readonly callId?: string | undefined;
  readonly provider?: string | undefined;
  readonly model?: string | undefined;
  readonly sourceId?: string | undefined;
  readonly externalId?: string | undefined;
  readonly status?: string | undefined;
  /** QUALITY_RANK */
  readonly quality?: number | undefined;
  /** occurred_at, half-open */
  readonly from?: Date | undefined;
  readonly to?: Date | undefined;
}

export interface PostingView {
  readonly revision: number;
  readonly state: 'posted' | 'quarantined' | 'reversed';
  readonly transactionId: string | null;
  readonly costNano: Nano;
  readonly chargeNano: Nano;
  readonly lines: readonly LineJson[];
  readonly priceVersion: string | null;
  readonly interval: { readonly from: Nano; readonly to: Nano } | null;
  readonly reason: string | null;
  readonly postedAt: Date;
}

export interface EventView {
  readonly event: StoredEvent;
  /** Newest first; empty while the event waits to be posted. */
  readonly postings: readonly PostingView[];
}

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
  lines: LineJson[];
  price_version: string | null;
  interval_from: Nano | null;
  interval_to: Nano | null;
  reason: string | null;
  posted_at: Date;
}

const POSTING_COLUMNS = 'p.revision, p.state, p.transaction_id, p.cost_nano, p.charge_nano, p.lines, p.price_version, p.interval_from, p.interval_to, p.reason, p.posted_at';

export class EventReader {
  constructor(private readonly database: Database) {}

  /** Newest received first, at most `limit`; `before` is the event id of the last row of the page before. Each with its newest posting. */
  async list(input: { filter: EventFilter; limit: number; before: string | null }): Promise<EventView[]> {
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

  /** One event with all its postings, or null; `tenantId` narrows to that tenant's events. */
  async get(input: { eventId: string; tenantId: string | null }): Promise<EventView | null> {
    const [row] = await this.database.query<EventRow>('SELECT * FROM metering.event WHERE event_id = $1 AND ($2::text IS NULL OR tenant_id = $2)', [input.eventId, input.tenantId]);
    if (!row) return null;
    const postings = await this.database.query<PostingJoin>(`SELECT ${POSTING_COLUMNS} FROM metering.posting p WHERE p.event_id = $1 ORDER BY p.revision DESC`, [input.eventId]);
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
    lines: row.lines,
    priceVersion: row.price_version,
    interval: row.interval_from === null || row.interval_to === null ? null : { from: row.interval_from, to: row.interval_to },
    reason: row.reason,
    postedAt: row.posted_at,
  };
}
