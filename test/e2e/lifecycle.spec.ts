/** The life of one process: first start, stop, restart, a second one, another user. */
import { execFileSync } from 'node:child_process';
import { accessSync, chmodSync, constants, copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { isAlive } from '#libs/platform/postgres/embedded/process-table.js';
import { openTestDatabase } from '../support/database.js';
import { eventually } from '../support/eventually.js';
import { faultsOf, readBooks, startLoad, stopAllLoads } from '../support/load.js';
import { cleanUpPrograms, embeddedPostgresOf, makeDataDir, runStandalone, startStandalone } from '../support/standalone.js';

const TIMEOUT_MS = 120_000;
const EVENT = { tenant_id: 'acme', provider: 'openai', model: 'gpt-4o', usage: { input_tokens: 1_200, output_tokens: 300 } };
const ROOT = resolve(import.meta.dirname, '../..');
const NOBODY = { uid: 65_534, gid: 65_534 };

describe('npm start', () => {
  afterEach(async () => {
    await stopAllLoads();
    await cleanUpPrograms();
  }, TIMEOUT_MS);

  it(
    'stops on SIGTERM with exit code 0, leaves no PostgreSQL behind, and continues on the same data',
    async () => {
      const first = await startStandalone();
      expect((await first.call('POST', '/v1/events', { ...EVENT, event_id: 'kept' })).body).toMatchObject({ accepted: 1 });
      const { postmaster } = embeddedPostgresOf(first.dataDir);
      expect(await first.end('SIGTERM')).toEqual({ code: 0, signal: null });
      expect(isAlive(postmaster)).toBe(false);
      const second = await startStandalone({ dataDir: first.dataDir });
      expect((await second.call('POST', '/v1/events', { ...EVENT, event_id: 'kept' })).body).toMatchObject({ accepted: 0, duplicates: 1 });
      await eventually('the event is posted', async () => (await second.call('GET', '/v1/tenants/acme/balance')).status === 200);
    },
    TIMEOUT_MS,
  );

  it(
    'answers the calls under way before it stops, and what they were told is true',
    async () => {
      const program = await startStandalone();
      const load = startLoad(() => program.url, 8, 'stop');
      await eventually('events are acknowledged', () => load.acknowledged.size >= 200, 30_000);
      expect(await program.end('SIGTERM')).toEqual({ code: 0, signal: null });
      await load.stop();
      expect(load.refusals).toEqual([]);
      const again = await startStandalone({ dataDir: program.dataDir });
      const { url } = embeddedPostgresOf(again.dataDir);
      await eventually('nothing is pending', async () => (await readBooks(url)).pending === 0, 30_000);
      expect(faultsOf(await readBooks(url), load.acknowledged)).toEqual([]);
    },
    TIMEOUT_MS,
  );

  it(
    'leaves no PostgreSQL behind when it is killed',
    async () => {
      const program = await startStandalone();
      const { postmaster } = embeddedPostgresOf(program.dataDir);
      await program.end('SIGKILL');
      await eventually('the postmaster is gone', () => !isAlive(postmaster), 25_000);
    },
    TIMEOUT_MS,
  );

  it(
    'refuses to be the second on a data folder or a database, and says why',
    async () => {
      const first = await startStandalone();
      const sameFolder = await runStandalone({ dataDir: first.dataDir });
      expect(sameFolder.code).toBe(1);
      expect(sameFolder.output).toContain(`process ${first.pid} is already running on the data folder`);
      const sameDatabase = await runStandalone({ environment: { DATABASE_URL: embeddedPostgresOf(first.dataDir).url } });
      expect(sameDatabase.code).toBe(1);
      expect(sameDatabase.output).toContain('another Tollgate process already works on this database');
      expect((await first.call('GET', '/health/ready')).status).toBe(200);
    },
    TIMEOUT_MS,
  );

  it(
    'refuses a database that acknowledges before the disk has it',
    async () => {
      const test = await openTestDatabase();
      await test.db.query('SELECT 1');
      const name = new URL(test.url).pathname.slice(1);
      const { default: pg } = await import('pg');
      const admin = new pg.Client({ connectionString: test.url });
      await admin.connect();
      await admin.query(`ALTER DATABASE ${name} SET synchronous_commit = off`);
      await admin.end();
      const refused = await runStandalone({ environment: { DATABASE_URL: test.url } });
      expect(refused.code).toBe(1);
      expect(refused.output).toContain('synchronous_commit=off');
      await test.close();
    },
    TIMEOUT_MS,
  );

  it(
    'makes an admin key that only its owner can read, keeps it, and prints where it is but not the key',
    async () => {
      const program = await startStandalone({ environment: { TOLLGATE_ADMIN_KEY: '' } });
      const file = join(program.dataDir, 'admin.key');
      const key = readFileSync(file, 'utf8').trim();
      expect(statSync(file).mode & 0o777).toBe(0o600);
      expect(program.output()).toContain(file);
      expect(program.output()).not.toContain(key);
      const answer = await fetch(`${program.url}/v1/tenants`, { headers: { authorization: `Bearer ${key}` } });
      expect(answer.status).toBe(200);
      await program.end('SIGTERM');
      await startStandalone({ dataDir: program.dataDir, environment: { TOLLGATE_ADMIN_KEY: '' } });
      expect(readFileSync(file, 'utf8').trim()).toBe(key);
    },
    TIMEOUT_MS,
  );

  it(
    'runs as a user without any rights',
    async () => {
      const installation = process.getuid?.() === 0 ? readableInstallation() : { root: ROOT, node: process.execPath, remove: () => undefined };
      const program = await startStandalone({ dataDir: makeDataDir(NOBODY), user: NOBODY, root: installation.root, node: installation.node });
      expect((await program.call('GET', '/health/ready')).status).toBe(200);
      expect((await program.call('POST', '/v1/events', { ...EVENT, event_id: 'first' })).status).toBe(202);
      if (process.getuid?.() === 0) expect(statSync(join(program.dataDir, 'postgres', 'pgdata')).uid).toBe(NOBODY.uid);
      expect(await program.end('SIGTERM')).toEqual({ code: 0, signal: null });
      installation.remove();
    },
    TIMEOUT_MS,
  );
});

/** The built program where user `nobody` can read it: in place, or hard-linked to a public folder when a home folder is in the way. */
function readableInstallation(): { root: string; node: string; remove: () => void } {
  if (readableByAll(join(ROOT, 'dist')) && readableByAll(process.execPath)) return { root: ROOT, node: process.execPath, remove: () => undefined };
  const root = mkdtempSync(join(tmpdir(), 'tollgate-install-'));
  chmodSync(root, 0o755);
  mkdirSync(join(root, 'bin'));
  for (const entry of ['dist', 'node_modules', 'package.json']) {
    try {
      execFileSync('cp', ['-al', join(ROOT, entry), root], { stdio: 'ignore' });
    } catch {
      rmSync(join(root, entry), { recursive: true, force: true });
      execFileSync('cp', ['-a', join(ROOT, entry), root]);
    }
  }
  copyFileSync(process.execPath, join(root, 'bin/node'));
  chmodSync(join(root, 'bin/node'), 0o755);
  accessSync(join(root, 'bin/node'), constants.X_OK);
  return { root, node: join(root, 'bin/node'), remove: () => rmSync(root, { recursive: true, force: true }) };
}

function readableByAll(path: string): boolean {
  for (let current = path; ; current = dirname(current)) {
    if (!existsSync(current) || (statSync(current).mode & 0o001) === 0) return false;
    if (current === dirname(current)) return true;
  }
}
