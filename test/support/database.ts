/**
 * A database of one's own for a test file. Guarantees: it is a fresh copy of the migrated template, nobody else sees it, it acts as
 * the unprivileged role like the product does, and `close()` fails the test file when a connection to it was leaked.
 */
import { randomBytes } from 'node:crypto';
import { basename } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { Database } from '#libs/platform/postgres/database.js';

export interface TestDatabase {
  readonly db: Database;
  /** Connection string as the owner of the schema; tests use it to look behind the role's back. */
  readonly url: string;
  close(): Promise<void>;
}

/** Sessions end on the server a moment after their socket closes. */
const LEAK_GRACE_MS = 3_000;
const MAX_NAME_BYTES = 63;

/** Address of the run's PostgreSQL, database `postgres`, as a superuser. */
export function testServerUrl(): string {
  const url = process.env['TOLLGATE_TEST_DATABASE_URL'];
  if (!url) throw new Error('this test needs PostgreSQL: put it in test/integration, contract, model, migration or e2e');
  return url;
}

/** Opens a fresh copy of the migrated template; `empty: true` gives a database without the schema instead. */
export async function openTestDatabase(options: { maxConnections?: number; empty?: boolean } = {}): Promise<TestDatabase> {
  const name = databaseName();
  const template = options.empty ? 'template0' : process.env['TOLLGATE_TEST_TEMPLATE'];
  await asAdmin((admin) => admin.query(`CREATE DATABASE ${name} TEMPLATE ${template}`));
  const url = new URL(testServerUrl());
  url.pathname = `/${name}`;
  const db = new Database({
    connectionString: url.href,
    maxConnections: options.maxConnections ?? 10,
    role: options.empty ? null : process.env['TOLLGATE_TEST_ROLE'] || null,
    applicationName: 'test-db',
  });
  let closed = false;
  const close = async (): Promise<void> => {
    if (closed) return;
    closed = true;
    await db.close();
    await asAdmin(async (admin) => {
      const leaked = await leakedSessions(admin, name);
      await admin.query(`DROP DATABASE ${name} WITH (FORCE)`);
      if (leaked.length > 0) throw new Error(`connections left open to the test database: ${leaked.join('; ')}`);
    });
  };
  return { db, url: url.href, close };
}

function databaseName(): string {
  const file = basename(expect.getState().testPath ?? 'unknown').replace(/\.spec\.ts$/, '');
  const readable = file.replaceAll(/[^a-z0-9]+/g, '_').slice(0, 40);
  return `test_${readable}_${randomBytes(5).toString('hex')}`.slice(0, MAX_NAME_BYTES);
}

async function asAdmin<T>(work: (admin: pg.Client) => Promise<T>): Promise<T> {
  const admin = new pg.Client({ connectionString: testServerUrl(), application_name: 'test-admin' });
  await admin.connect();
  try {
    return await work(admin);
  } finally {
    await admin.end();
  }
}

async function leakedSessions(admin: pg.Client, name: string): Promise<string[]> {
  for (const deadline = performance.now() + LEAK_GRACE_MS; ; await delay(20)) {
    const { rows } = await admin.query<{ application_name: string; query: string }>(
      `SELECT application_name, left(query, 120) AS query FROM pg_stat_activity WHERE datname = $1 AND backend_type = 'client backend'`,
      [name],
    );
    if (rows.length === 0 || performance.now() > deadline) return rows.map((row) => `${row.application_name || '(unnamed)'}: ${row.query}`);
  }
}
