/**
 * Senders that keep going whatever happens to the server, and remember exactly what was acknowledged to them. Each event costs
 * 0.006000000 USD by hand: gpt-4o, 1,200 input tokens at 2.50 and 300 output tokens at 10.00 USD per million.
 */
import pg from 'pg';
import { setTimeout as delay } from 'node:timers/promises';
import { ADMIN_KEY } from './standalone.js';

export const EVENT_COST_NANO = 6_000_000n;
const EVENTS_PER_CALL = 10;
const TENANTS = 7;
const PAUSE_AFTER_FAILURE_MS = 20;

export interface Load {
  /** External ids of events the server acknowledged. */
  readonly acknowledged: ReadonlySet<string>;
  /** Statuses of answers other than 202, with their Retry-After. */
  readonly refusals: readonly { status: number; retryAfter: string | null }[];
  /** No further calls; returns when the last answer is in. */
  stop(): Promise<void>;
}

const running = new Set<Load>();

/** Call in afterEach: a test that failed must not leave its senders behind. */
export async function stopAllLoads(): Promise<void> {
  await Promise.all([...running].map(async (load) => await load.stop()));
}

/** Starts `senders` loops that post to `url()` until stopped. A call that fails or is refused is not sent again. */
export function startLoad(url: () => string, senders: number, run: string): Load {
  const acknowledged = new Set<string>();
  const refusals: { status: number; retryAfter: string | null }[] = [];
  let stopped = false;
  let counter = 0;
  const loop = async (): Promise<void> => {
    while (!stopped) {
      const ids = Array.from({ length: EVENTS_PER_CALL }, () => `${run}-${(counter += 1)}`);
      try {
        const response = await fetch(`${url()}/v1/events`, {
          method: 'POST',
          headers: { authorization: `Bearer ${ADMIN_KEY}`, 'content-type': 'application/json' },
          body: JSON.stringify(ids.map(spendEvent)),
          signal: AbortSignal.timeout(30_000),
        });
        // The status line is the promise: a body cut off by the kill does not take it back.
        if (response.status === 202) for (const id of ids) acknowledged.add(id);
        else refusals.push({ status: response.status, retryAfter: response.headers.get('retry-after') });
        await response.text();
        if (response.status !== 202) await delay(PAUSE_AFTER_FAILURE_MS);
      } catch {
        await delay(PAUSE_AFTER_FAILURE_MS);
      }
    }
  };
  const loops = Array.from({ length: senders }, loop);
  const load: Load = {
    acknowledged,
    refusals,
    stop: async () => {
      stopped = true;
      running.delete(load);
      await Promise.all(loops);
    },
  };
  running.add(load);
  return load;
}

function spendEvent(eventId: string): object {
  const tenant = Number(eventId.slice(eventId.lastIndexOf('-') + 1)) % TENANTS;
  return { event_id: eventId, tenant_id: `load-${tenant}`, provider: 'openai', model: 'gpt-4o', usage: { input_tokens: 1_200, output_tokens: 300 } };
}

export interface Books {
  readonly pending: number;
  /** External id -> how many times the event is stored and posted, and what became of it (posting states and reasons). */
  readonly stored: ReadonlyMap<string, { events: number; postings: number; fate: string | null }>;
  /** What the ledger says the tenants owe. */
  readonly owedNano: bigint;
}

/** Reads the books from the tables themselves, as a superuser, without the product's code. */
export async function readBooks(url: string): Promise<Books> {
  const client = new pg.Client({ connectionString: url, application_name: 'test-auditor' });
  client.on('error', () => undefined);
  await client.connect();
  try {
    const pending = await client.query<{ n: string }>('SELECT count(*) AS n FROM metering.pending');
    const events = await client.query<{ external_id: string; events: string; postings: string; fate: string | null }>(
      `SELECT e.external_id, count(DISTINCT e.event_id) AS events, count(p.event_id) FILTER (WHERE p.state = 'posted') AS postings,
              string_agg(p.state || coalesce(':' || p.reason, ''), ',') AS fate
         FROM metering.event e LEFT JOIN metering.posting p ON p.event_id = e.event_id
        WHERE e.tenant_id LIKE 'load-%' GROUP BY 1`,
    );
    const owed = await client.query<{ n: string }>(`SELECT coalesce(sum(receivable_nano), 0) AS n FROM ledger.tenant_balance WHERE tenant_id LIKE 'load-%'`);
    return {
      pending: Number(pending.rows[0]?.n),
      stored: new Map(events.rows.map((row) => [row.external_id, { events: Number(row.events), postings: Number(row.postings), fate: row.fate }])),
      owedNano: BigInt(owed.rows[0]?.n ?? '0'),
    };
  } finally {
    await client.end();
  }
}

/** What is wrong with the books, as sentences; none: every acknowledged event is posted exactly once and the money agrees. */
export function faultsOf(books: Books, acknowledged: ReadonlySet<string>): string[] {
  const lost = [...acknowledged].filter((id) => !books.stored.has(id));
  const wrong = [...books.stored].filter(([, count]) => count.events !== 1 || count.postings !== 1);
  const owed = BigInt(books.stored.size) * EVENT_COST_NANO;
  return [
    ...(lost.length > 0 ? [`${lost.length} of ${acknowledged.size} acknowledged events are lost`] : []),
    ...(wrong.length > 0 ? [`${wrong.length} events are not stored and posted exactly once, such as ${JSON.stringify(wrong[0])}`] : []),
    ...(books.owedNano === owed ? [] : [`the ledger says ${books.owedNano}, the events cost ${owed}`]),
  ];
}
