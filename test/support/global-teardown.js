/** Stops the run's PostgreSQL. Fails the run when a test file left its database open: that file forgot `close()`. */
import { rmSync } from 'node:fs';
import pg from 'pg';

export default async function globalTeardown() {
  const server = globalThis.tollgateTestServer;
  if (!server) return;
  const client = new pg.Client({ connectionString: server.url('postgres') });
  await client.connect();
  const { rows } = await client.query(`SELECT datname FROM pg_database WHERE datname LIKE 'test\\_%' ORDER BY 1`);
  await client.end();
  await server.stop();
  rmSync(globalThis.tollgateTestDirectory, { recursive: true, force: true });
  if (rows.length > 0) throw new Error(`test databases that were never closed: ${rows.map((row) => row.datname).join(', ')}`);
}
