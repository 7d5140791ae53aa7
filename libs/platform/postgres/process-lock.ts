/**
 * One process per database where there is no Redis: quota state then lives in the process's memory, and two memories would spend the
 * same money twice. Guarantees: a second process is refused and told who holds the lock; a holder whose connection is lost knows it at
 * once (`isHeld` turns false, readiness red) and asks for the lock again until it has it.
 */
import pg from 'pg';
import { setTimeout as delay } from 'node:timers/promises';
import type { Sql, Statement } from './database.js';

// The bytes spell "tollproc". Advisory locks belong to one database, so two databases of one server do not meet.
const PROCESS_LOCK = 8390891584371388259n;
/** A process that was killed leaves a session that ends within moments: a restart must not be refused for it. */
const TAKE_OVER_GRACE_MS = 5_000;
const RETRY_MS = 250;
/** A half-open connection looks alive for minutes; asking finds out. */
const HEARTBEAT_MS = 500;
const ANSWER_TIMEOUT_MS = 5_000;
const INT8_OID = 20;

export class ProcessLockTakenError extends Error {
  constructor(holder: string) {
    super(
      `another Tollgate process already works on this database (${holder}). Without REDIS_URL there may be one only: ` +
        'stop it, give this one another database, or set REDIS_URL and run `npm run start:api` and `npm run start:worker`',
    );
    this.name = 'ProcessLockTakenError';
  }
}

export interface ProcessLockOptions {
  readonly connectionString: string;
  /** Called when the lock is lost and when it is held again. */
  readonly onChange: (held: boolean) => void;
  readonly graceMs?: number;
}

export class ProcessLock implements Pick<Sql, 'query'> {
  private client: pg.Client | null = null;
  private provenAtMs = Number.NEGATIVE_INFINITY;
  private closed = false;
  private recovery: Promise<void> = Promise.resolve();
  private heartbeat: NodeJS.Timeout | undefined;

  private constructor(private readonly options: ProcessLockOptions) {}

  /** Takes the lock. @throws ProcessLockTakenError when another process has it, or the connection's own error */
  static async acquire(options: ProcessLockOptions): Promise<ProcessLock> {
    const lock = new ProcessLock(options);
    const deadline = performance.now() + (options.graceMs ?? TAKE_OVER_GRACE_MS);
    for (;;) {
      const holder = await lock.attempt();
      if (holder === null) return lock;
      if (performance.now() > deadline) throw new ProcessLockTakenError(holder);
      await delay(RETRY_MS);
    }
  }

  get isHeld(): boolean {
    return this.client !== null;
  }

  /** How long ago, on the monotonic clock, the last question was asked that showed the lock to be ours. Also right after a pause of the process. */
  get provenAgoMs(): number {
    return this.client === null ? Number.POSITIVE_INFINITY : performance.now() - this.provenAtMs;
  }

  /** Runs a statement in the session that holds the lock: what it does was done while the lock was ours. @throws Error when it is not held */
  async query<Row extends object>(statement: Statement, params: readonly unknown[] = []): Promise<Row[]> {
    if (this.client === null) throw new Error('the process lock is not held');
    const config = typeof statement === 'string' ? { text: statement } : statement;
    return (await this.client.query({ ...config, values: [...params] })).rows as Row[];
  }

  async close(): Promise<void> {
    this.closed = true;
    clearInterval(this.heartbeat);
    await this.recovery;
    const client = this.client;
    this.client = null;
    await client?.end().catch(() => undefined);
  }

  /** Null when the lock is ours now, else a description of who has it. */
  private async attempt(): Promise<string | null> {
    const types = new pg.TypeOverrides();
    types.setTypeParser(INT8_OID, (text) => BigInt(text));
    const client = new pg.Client({
      types,
      connectionString: this.options.connectionString,
      application_name: 'tollgate-process-lock',
      connectionTimeoutMillis: ANSWER_TIMEOUT_MS,
      query_timeout: ANSWER_TIMEOUT_MS,
      keepAlive: true,
      options: '-c idle_session_timeout=0',
    });
    client.on('error', () => this.onLost(client));
    client.on('end', () => this.onLost(client));
    const askedAtMs = performance.now();
    try {
      await client.connect();
      const { rows } = await client.query<{ taken: boolean }>('SELECT pg_try_advisory_lock($1) AS taken', [PROCESS_LOCK.toString()]);
      if (rows[0]?.taken !== true) {
        const holder = await describeHolder(client);
        await client.end();
        return holder;
      }
    } catch (error) {
      await client.end().catch(() => undefined);
      throw error;
    }
    this.client = client;
    this.provenAtMs = askedAtMs;
    clearInterval(this.heartbeat);
    this.heartbeat = setInterval(() => void this.beat(client), HEARTBEAT_MS);
    this.heartbeat.unref();
    return null;
  }

  private async beat(client: pg.Client): Promise<void> {
    const askedAtMs = performance.now();
    try {
      await client.query('SELECT 1');
      if (this.client === client) this.provenAtMs = askedAtMs;
    } catch {
      this.onLost(client);
    }
  }

  private onLost(client: pg.Client): void {
    if (this.client !== client || this.closed) return;
    this.client = null;
    clearInterval(this.heartbeat);
    // Ends the session also where the server does not know yet that we gave up on it.
    void client.end().catch(() => undefined);
    this.options.onChange(false);
    this.recovery = this.recover();
  }

  private async recover(): Promise<void> {
    while (!this.closed) {
      const holder = await this.attempt().catch(() => 'the database is away');
      if (holder === null) return this.options.onChange(true);
      await delay(RETRY_MS);
    }
  }
}

async function describeHolder(client: pg.Client): Promise<string> {
  const { rows } = await client.query<{ address: string | null; since: Date }>(
    `SELECT host(a.client_addr) || ':' || a.client_port AS address, a.backend_start AS since
       FROM pg_locks l JOIN pg_stat_activity a USING (pid)
      WHERE l.locktype = 'advisory' AND l.granted AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND l.objsubid = 1 AND (l.classid::bigint << 32) | l.objid::bigint = $1`,
    [PROCESS_LOCK.toString()],
  );
  const holder = rows[0];
  return holder ? `connected from ${holder.address ?? 'this machine'} since ${holder.since.toISOString()}` : 'it let go a moment ago';
}
