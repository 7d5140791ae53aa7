/**
 * One embedded PostgreSQL for a whole jest run. Guarantees: every test file sees the same migrated schema (a template database made
 * once), and the server is stopped at the end, also when jest is killed (its watchdog). It does not wait for the disk: tests about
 * durability start a server of their own.
 */
import { chmodSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildWhenStale } from './build.js';

export const TEMPLATE = 'tollgate_template';

export default async function globalSetup() {
  await buildWhenStale();
  const { EmbeddedPostgres } = await import('../../dist/libs/platform/postgres/embedded/embedded-postgres.js');
  const { migrate } = await import('../../dist/libs/platform/postgres/migrator.js');
  const { migrations } = await import('../../dist/migrations/index.js');
  const directory = mkdtempSync(join(tmpdir(), 'tollgate-test-'));
  chmodSync(directory, 0o755);
  const server = await EmbeddedPostgres.start({
    directory,
    database: TEMPLATE,
    settings: { fsync: 'off', full_page_writes: 'off', max_connections: '300', max_wal_size: '8GB', checkpoint_timeout: '1h' },
    report: (level, message) => level === 'info' || process.stderr.write(`test PostgreSQL: ${message}\n`),
  });
  globalThis.tollgateTestServer = server;
  globalThis.tollgateTestDirectory = directory;
  const { role } = await migrate({ connectionString: server.url(), migrations });
  process.env.TOLLGATE_TEST_DATABASE_URL = server.url('postgres');
  process.env.TOLLGATE_TEST_TEMPLATE = TEMPLATE;
  process.env.TOLLGATE_TEST_ROLE = role ?? '';
}
