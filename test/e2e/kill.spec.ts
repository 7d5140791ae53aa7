/** Done-when 4: what was acknowledged survives kill -9 of anything and is posted exactly once. The last test shows that these would notice. */
import { rmSync } from 'node:fs';
import pg from 'pg';
import { EmbeddedPostgres } from '#libs/platform/postgres/embedded/embedded-postgres.js';
import { isAlive } from '#libs/platform/postgres/embedded/process-table.js';
import { eventually } from '../support/eventually.js';
import { faultsOf, readBooks, startLoad, stopAllLoads, type Books, type Load } from '../support/load.js';
import { cleanUpPrograms, embeddedPostgresOf, killPostgres, makeDataDir, startStandalone } from '../support/standalone.js';

const ROUNDS = 3;
const SENDERS = 8;
/** Enough acknowledged since the last kill that batches are being stored and posted at the moment of the next. */
const EVENTS_BETWEEN_KILLS = 400;
const TIMEOUT_MS = 300_000;

async function acknowledgedMore(load: Load, from = load.acknowledged.size): Promise<void> {
  await eventually('more events are acknowledged', () => load.acknowledged.size >= from + EVENTS_BETWEEN_KILLS, 60_000);
}

/** One kill of every PostgreSQL process under load: what the books lack once the server is back, of what was acknowledged before they were read. */
async function lossesOfOneKill(load: Load, postgres: { postmaster: () => number | null; url: () => string }): Promise<string[]> {
  await acknowledgedMore(load);
  const killed = postgres.postmaster();
  if (killed === null) throw new Error('PostgreSQL is not running');
  killPostgres(killed);
  await eventually('another postmaster', () => ![null, killed].includes(postgres.postmaster()), 90_000);
  let books: Books | null = null;
  let known = new Set<string>();
  await eventually('the books can be read', async () => {
    known = new Set(load.acknowledged);
    books = await readBooks(postgres.url()).catch(() => null);
    return books !== null;
  });
  return faultsOf(books as unknown as Books, known).filter((fault) => fault.includes('are lost'));
}

async function everythingPosted(url: () => string): Promise<void> {
  await eventually('nothing is pending', async () => (await readBooks(url()).catch(() => null))?.pending === 0, 60_000);
}

describe('E1 an acknowledged event is posted exactly once', () => {
  afterEach(async () => {
    await stopAllLoads();
    await cleanUpPrograms();
  }, TIMEOUT_MS);

  it(
    'after kill -9 of the server under load',
    async () => {
      let program = await startStandalone();
      const load = startLoad(() => program.url, SENDERS, 'server');
      for (let round = 0; round < ROUNDS; round += 1) {
        await acknowledgedMore(load);
        const { postmaster } = embeddedPostgresOf(program.dataDir);
        await program.end('SIGKILL');
        program = await startStandalone({ dataDir: program.dataDir });
        expect(isAlive(postmaster)).toBe(false);
      }
      await acknowledgedMore(load);
      await load.stop();
      const { url } = embeddedPostgresOf(program.dataDir);
      await everythingPosted(() => url);
      expect(faultsOf(await readBooks(url), load.acknowledged)).toEqual([]);
      expect((await program.call('GET', '/v1/ledger/check')).body).toMatchObject({ drift: [] });
    },
    TIMEOUT_MS,
  );

  it(
    'after kill -9 of every PostgreSQL process under load, without a restart of the server',
    async () => {
      const program = await startStandalone();
      const load = startLoad(() => program.url, SENDERS, 'postgres');
      const postgres = { postmaster: () => embeddedPostgresOrNull(program.dataDir), url: () => embeddedPostgresOf(program.dataDir).url };
      for (let round = 0; round < ROUNDS; round += 1) expect(await lossesOfOneKill(load, postgres)).toEqual([]);
      await acknowledgedMore(load);
      await load.stop();
      await everythingPosted(() => embeddedPostgresOf(program.dataDir).url);
      expect(faultsOf(await readBooks(embeddedPostgresOf(program.dataDir).url), load.acknowledged)).toEqual([]);
      expect(load.refusals.filter(({ status, retryAfter }) => status !== 503 || retryAfter === null)).toEqual([]);
    },
    TIMEOUT_MS,
  );
});

describe('the kill test itself', () => {
  afterEach(async () => {
    await stopAllLoads();
    await cleanUpPrograms();
  }, TIMEOUT_MS);

  it(
    'finds losses within five kills when commits do not wait for the disk',
    async () => {
      const directory = makeDataDir();
      const server = await EmbeddedPostgres.start({
        directory,
        database: 'tollgate',
        settings: { wal_writer_delay: '10s', wal_writer_flush_after: '1GB' },
        report: () => undefined,
      });
      const program = await startStandalone({ environment: { DATABASE_URL: server.url(), LOG_LEVEL: 'silent' } });
      await makeCommitsAsynchronous(server.url());
      const load = startLoad(() => program.url, SENDERS, 'async');
      const postgres = { postmaster: () => server.pid, url: () => server.url() };
      let losses: string[] = [];
      for (let kill = 1; kill <= 5 && losses.length === 0; kill += 1) losses = await lossesOfOneKill(load, postgres);
      await load.stop();
      await program.end('SIGKILL');
      await server.stop();
      rmSync(server.directory, { recursive: true, force: true });
      expect(losses).toHaveLength(1);
    },
    TIMEOUT_MS,
  );
});

/** After the start, because the program refuses to start on such a database. */
async function makeCommitsAsynchronous(url: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  await client.query('ALTER DATABASE tollgate SET synchronous_commit = off');
  await client.query('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()');
  await client.end();
}

function embeddedPostgresOrNull(dataDir: string): number | null {
  try {
    const { postmaster } = embeddedPostgresOf(dataDir);
    return isAlive(postmaster) ? postmaster : null;
  } catch {
    return null;
  }
}
