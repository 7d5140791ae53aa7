/** Migrations: up and down again, side by side without harm, and honest where the login may not make a role. */
import pg from 'pg';
import { migrate, undoLastMigration } from '#libs/platform/postgres/migrator.js';
import { migrations } from '../../migrations/index.js';
import { openTestDatabase, type TestDatabase } from '../support/database.js';

let database: TestDatabase;
beforeEach(async () => {
  database = await openTestDatabase({ empty: true });
});
afterEach(async () => {
  await database.close();
});

const schemas = async (): Promise<string[]> => {
  const rows = await database.db.query<{ name: string }>(
    `SELECT nspname AS name FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname NOT IN ('information_schema', 'public') ORDER BY 1`,
  );
  return rows.map((row) => row.name);
};
const run = async (url = database.url) => await migrate({ connectionString: url, migrations });

test('every migration can be taken back, newest first, and applied again', async () => {
  await run();
  const full = await schemas();
  for (let left = migrations.length; left > 0; left -= 1) await undoLastMigration({ connectionString: database.url, migrations });
  expect(await schemas()).toEqual([]);
  expect((await run()).applied).toHaveLength(migrations.length);
  expect(await schemas()).toEqual(full);
});

test('eight processes that start at once apply each migration once', async () => {
  const outcomes = await Promise.all(Array.from({ length: 8 }, () => run()));
  expect(outcomes.flatMap((outcome) => outcome.applied)).toHaveLength(migrations.length);
});

test('running again changes nothing', async () => {
  await run();
  expect((await run()).applied).toEqual([]);
});

test('a login that may not make roles migrates all the same and says that triggers alone protect the ledger', async () => {
  const name = `plain_${new URL(database.url).pathname.slice(1)}`;
  const owner = new pg.Client({ connectionString: database.url });
  await owner.connect();
  await owner.query(`CREATE ROLE ${name} LOGIN PASSWORD 'plain' NOSUPERUSER NOCREATEROLE`);
  await owner.query(`GRANT ALL ON DATABASE ${new URL(database.url).pathname.slice(1)} TO ${name}; GRANT ALL ON SCHEMA public TO ${name}`);
  const url = new URL(database.url);
  url.username = name;
  url.password = 'plain';
  try {
    expect((await run(url.href)).role).toBeNull();
    const client = new pg.Client({ connectionString: url.href });
    await client.connect();
    await expect(client.query('DELETE FROM ledger.transaction')).rejects.toThrow('never changed or removed');
    await client.end();
  } finally {
    await owner.query(`REASSIGN OWNED BY ${name} TO CURRENT_USER; DROP OWNED BY ${name}; DROP ROLE ${name}`);
    await owner.end();
  }
});
