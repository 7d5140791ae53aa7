/**
 * The one door to PostgreSQL. Guarantees: bigint columns arrive as bigint, every pooled connection acts as the unprivileged role,
 * commits wait for the disk (`synchronous_commit=on`, asserted at start), a lost server is `unavailable` (503) and never a crash,
 * and a deadlock or serialization failure is retried a bounded number of times.
 */
import pg from 'pg';
import { DomainError } from '../../kernel/index.js';
import { CopyIn, type CopyTable } from './copy-in.js';

/** A statement; `name` makes it a prepared statement, for the hot ones. */
export type Statement = string | { readonly name: string; readonly text: string };

/** What a repository needs: a pool or one transaction look the same. */
export interface Sql {
  /** Runs one statement and returns its rows. */
  query<Row extends object>(statement: Statement, params?: readonly unknown[]): Promise<Row[]>;
  /** Runs one statement and returns how many rows it touched. */
  execute(statement: Statement, params?: readonly unknown[]): Promise<number>;
  /** Appends rows to every one of `tables` or, when one is refused, to none. Returns how many. */
  copy(tables: readonly CopyTable[]): Promise<number>;
}

export interface DatabaseOptions {
  readonly connectionString: string;
  readonly maxConnections: number;
  /** Role every connection takes on; null where the login could not create it (readiness then says so). */
  readonly role: string | null;
  readonly applicationName: string;
  readonly connectTimeoutMs?: number;
  readonly statementTimeoutMs?: number;
}

const INT8_OID = 20;
const TIMESTAMPTZ_OID = 1184;
/** What a session in UTC writes, but for years beyond four digits. The engine reads it in a fraction of the time the driver's parser takes. */
const UTC_TIME = /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d{1,6})?\+00$/;
/** Whoever waits longer has been given up by the caller in front of him. */
const STATEMENT_TIMEOUT_MS = 30_000;
const SILENCE_MARGIN_MS = 2_000;
/** Between two statements nobody computes for long: a process that was paused there must not keep its locks, or no other can take over. */
const IDLE_TRANSACTION_MS = 10_000;
const RETRIED_SQLSTATES = new Set(['40001', '40P01', '55P03']);
const MAX_ATTEMPTS = 4;
/** Classes 08 (connection), 53 (resources), 57P (shutdown), 25006 (read only), 25P03 (we were paused in a transaction): not the caller's fault. */
const UNAVAILABLE_SQLSTATE = /^(08|53|57P|25006|25P03)/;
const UNAVAILABLE_ERRNO = new Set(['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'ENOENT', 'EHOSTUNREACH']);

/** Said by each transaction with its beginning, whatever the server's default is. */
export type TransactionMode = 'READ COMMITTED' | 'REPEATABLE READ' | 'REPEATABLE READ, READ ONLY';

export class Database implements Sql {
  private readonly pool: pg.Pool;

  constructor(options: DatabaseOptions) {
    const types = new pg.TypeOverrides();
    const statementTimeoutMs = options.statementTimeoutMs ?? STATEMENT_TIMEOUT_MS;
    types.setTypeParser(INT8_OID, (text) => BigInt(text));
    types.setTypeParser(TIMESTAMPTZ_OID, readTime);
    this.pool = new pg.Pool({
      connectionString: options.connectionString,
      max: options.maxConnections,
      application_name: options.applicationName,
      connectionTimeoutMillis: options.connectTimeoutMs ?? 2_000,
      types,
      keepAlive: true,
      // The server's own timeout does not reach us over a connection that went dead: then ours ends the wait a little later.
      query_timeout: statementTimeoutMs + SILENCE_MARGIN_MS,
      options: `-c statement_timeout=${statementTimeoutMs} -c idle_in_transaction_session_timeout=${IDLE_TRANSACTION_MS} -c timezone=UTC`,
      onConnect: async (client: pg.ClientBase) => {
        if (options.role !== null) await client.query(`SET ROLE ${pg.escapeIdentifier(options.role)}`);
      },
    });
    // An idle connection that dies is replaced by the pool; without a listener it would end the process.
    this.pool.on('error', () => undefined);
    // Between the pool's listener and a borrower's there is none when the server's last words come in one piece with the end of the statement before.
    this.pool.on('connect', (client) => client.on('error', () => undefined));
  }

  async query<Row extends object>(statement: Statement, params: readonly unknown[] = []): Promise<Row[]> {
    return (await this.run(this.pool, statement, params)).rows as Row[];
  }

  async execute(statement: Statement, params: readonly unknown[] = []): Promise<number> {
    return (await this.run(this.pool, statement, params)).rowCount ?? 0;
  }

  /** A transaction of its own, durable when this returns. */
  async copy(tables: readonly CopyTable[]): Promise<number> {
    return await this.onClient(async (client) => await copyOn(client, tables)).catch((error: unknown) => {
      throw asStorageError(error);
    });
  }

  /**
   * Runs `work` in one transaction and commits it; `work` may run again after a deadlock or serialization failure, so it must
   * keep no state outside. @throws DomainError storage.unavailable when the server is away
   */
  async transaction<T>(work: (tx: Sql) => Promise<T>, mode: TransactionMode = 'READ COMMITTED'): Promise<T> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.attempt(work, mode);
      } catch (error) {
        if (attempt >= MAX_ATTEMPTS || !RETRIED_SQLSTATES.has(sqlState(error))) throw asStorageError(error);
      }
    }
  }

  async close(): Promise<void> {
    await this.pool.end();
  }

  private async attempt<T>(work: (tx: Sql) => Promise<T>, mode: TransactionMode): Promise<T> {
    return await this.onClient(async (client, giveUp) => {
      const tx: Sql = {
        query: async <Row extends object>(statement: Statement, params: readonly unknown[] = []) => (await runOn(client, statement, params)).rows as Row[],
        execute: async (statement, params = []) => (await runOn(client, statement, params)).rowCount ?? 0,
        copy: async (tables) => await copyOn(client, tables),
      };
      try {
        await client.query(`BEGIN ISOLATION LEVEL ${mode}`);
        const result = await work(tx);
        await client.query('COMMIT');
        return result;
      } catch (error) {
        // On a silent connection a ROLLBACK would wait as long again; closing it makes the server roll back.
        if (!isSilence(error)) await client.query('ROLLBACK').catch(giveUp);
        throw error;
      }
    });
  }

  /** Lends a connection to `work`. One that died, fell silent or was given up is closed, not lent again. */
  private async onClient<T>(work: (client: pg.PoolClient, giveUp: (error: Error) => void) => Promise<T>): Promise<T> {
    const client = await this.pool.connect().catch((error: unknown) => {
      throw asStorageError(error);
    });
    let broken: Error | undefined;
    const giveUp = (error: Error): void => {
      broken = error;
    };
    // A connection that dies between two statements emits 'error' on the client itself; unheard it would end the process.
    client.on('error', giveUp);
    try {
      return await work(client, giveUp);
    } catch (error) {
      if (isSilence(error)) giveUp(error);
      throw error;
    } finally {
      client.off('error', giveUp);
      client.release(broken);
    }
  }

  private async run(target: pg.Pool, statement: Statement, params: readonly unknown[]): Promise<pg.QueryResult> {
    return await runOn(target, statement, params).catch((error: unknown) => {
      throw asStorageError(error);
    });
  }
}

const readAnyTime: (text: string) => unknown = pg.types.getTypeParser(TIMESTAMPTZ_OID);

function readTime(text: string): unknown {
  return UTC_TIME.test(text) ? new Date(`${text.slice(0, 10)}T${text.slice(11, -3)}Z`) : readAnyTime(text);
}

async function runOn(target: pg.Pool | pg.ClientBase, statement: Statement, params: readonly unknown[]): Promise<pg.QueryResult> {
  const config = typeof statement === 'string' ? { text: statement } : statement;
  return await target.query({ ...config, values: params as unknown[] });
}

async function copyOn(client: pg.PoolClient, tables: readonly CopyTable[]): Promise<number> {
  const copyIn = new CopyIn(tables);
  return await new Promise<number>((resolve, reject) => {
    copyIn.callback = (error, copied) => (error ? reject(error) : resolve(copied ?? 0));
    client.query(copyIn);
  });
}

/** The SQLSTATE of a PostgreSQL error, or ''. */
export function sqlState(error: unknown): string {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' ? code : '';
}

function isSilence(error: unknown): error is Error {
  return error instanceof Error && error.message === 'Query read timeout';
}

function asStorageError(error: unknown): unknown {
  if (error instanceof DomainError) return error;
  const code = sqlState(error);
  const message = error instanceof Error ? error.message : '';
  const away =
    isSilence(error) ||
    UNAVAILABLE_SQLSTATE.test(code) ||
    UNAVAILABLE_ERRNO.has(code) ||
    RETRIED_SQLSTATES.has(code) ||
    /Connection terminated|timeout exceeded when trying to connect|Client has encountered a connection error/.test(message);
  if (!away) return error;
  return new DomainError({
    code: 'storage.unavailable',
    kind: 'unavailable',
    publicMessage: 'the database is not reachable; nothing was stored, try again',
    retryAfterMs: 1_000,
    cause: error,
  });
}
