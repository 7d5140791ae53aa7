/** Starts servers of its own: these tests are about processes, so they kill some. */
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { DataFolderInUseError } from '#libs/platform/postgres/embedded/data-owner.js';
import { EmbeddedPostgres } from '#libs/platform/postgres/embedded/embedded-postgres.js';
import { isAlive } from '#libs/platform/postgres/embedded/process-table.js';
import { openTestDatabase } from '../support/database.js';
import { eventually } from '../support/eventually.js';

const BUILT = new URL('../../dist/libs/platform/postgres/embedded/embedded-postgres.js', import.meta.url).href;

describe('the test database', () => {
  it('is a migrated copy seen through the unprivileged role', async () => {
    const test = await openTestDatabase();
    const [row] = await test.db.query<{ role: string; tables: bigint }>(
      `SELECT current_user AS role, count(*) AS tables FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')`,
    );
    expect(row?.role).toBe('tollgate_app');
    expect(row?.tables).toBeGreaterThan(10n);
    await test.close();
  });

  it('fails its file when a connection was left open', async () => {
    const leaky = await openTestDatabase();
    const client = new pg.Client({ connectionString: leaky.url, application_name: 'forgotten' });
    client.on('error', () => undefined);
    await client.connect();
    await expect(leaky.close()).rejects.toThrow(/connections left open.*forgotten/);
    await client.end().catch(() => undefined);
  });
});

describe('the embedded PostgreSQL', () => {
  let directory: string;
  const servers: EmbeddedPostgres[] = [];
  const homes = new Set<string>();
  const reports: string[] = [];

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'tollgate-embedded-'));
  });
  afterEach(async () => {
    await Promise.all(servers.splice(0).map((server) => server.stop()));
    reports.splice(0);
    for (const folder of [directory, ...homes]) rmSync(folder, { recursive: true, force: true });
    homes.clear();
  });
  const start = async (settings: Record<string, string> = {}): Promise<EmbeddedPostgres> => {
    const server = await EmbeddedPostgres.start({ directory, database: 'tollgate', settings, report: (_level, message) => reports.push(message) });
    servers.push(server);
    homes.add(server.directory);
    return server;
  };

  it('commits to disk, listens on loopback only, and asks for a password nobody else can read', async () => {
    const server = await start();
    expect(
      await ask(
        server.url(),
        `SELECT string_agg(setting, ' ' ORDER BY name) AS answer FROM pg_settings WHERE name IN ('fsync', 'listen_addresses', 'synchronous_commit')`,
      ),
    ).toBe('on 127.0.0.1 on');
    const noPassword = new URL(server.url());
    noPassword.password = 'guess';
    await expect(ask(noPassword.href, 'SELECT 1 AS answer')).rejects.toThrow(/password authentication failed/);
    expect(statSync(join(server.directory, 'password')).mode & 0o777).toBe(0o600);
    expect(statSync(join(server.directory, 'pgdata')).mode & 0o777).toBe(0o700);
  });

  it('continues on the same data after a clean stop', async () => {
    const first = await start();
    await ask(first.url(), `CREATE TABLE kept AS SELECT 42 AS answer`);
    const pid = first.pid as number;
    await first.stop();
    expect(isAlive(pid)).toBe(false);
    const second = await start();
    expect(await ask(second.url(), 'SELECT answer FROM kept')).toBe(42);
  });

  it('refuses a second program on the same folder and names the first', async () => {
    await start();
    await expect(start()).rejects.toThrow(DataFolderInUseError);
    await expect(start()).rejects.toThrow(`process ${process.pid} is already running on the data folder`);
  });

  it('does not take a reused process id for the owner', async () => {
    const first = await start();
    await first.stop();
    writeFileSync(join(first.directory, 'owner.json'), JSON.stringify({ pid: process.pid, startTime: 'another life' }));
    expect((await start()).pid).not.toBeNull();
  });

  it('comes back on the same port with what was committed when every one of its processes is killed', async () => {
    const server = await start();
    await ask(server.url(), `CREATE TABLE kept AS SELECT 7 AS answer`);
    const first = server.pid as number;
    killAll(first);
    await eventually('another postmaster runs', () => server.pid !== null && server.pid !== first);
    expect(await ask(server.url(), 'SELECT answer FROM kept')).toBe(7);
    expect(reports).toContain('PostgreSQL is back after crash recovery');
  });

  it('leaves no postmaster behind when its program is killed', async () => {
    const { program, pid, home } = await startInAnotherProgram(directory);
    homes.add(home);
    program.kill('SIGKILL');
    await eventually('the postmaster is gone', () => !isAlive(pid), 25_000);
  });

  it('stops what an earlier run left behind when the watchdog was killed too, and continues on its data', async () => {
    const { program, pid, watchdog, url } = await startInAnotherProgram(directory);
    await ask(url, `CREATE TABLE kept AS SELECT 9 AS answer`);
    process.kill(watchdog, 'SIGKILL');
    program.kill('SIGKILL');
    await eventually('the program is gone', () => program.exitCode !== null || program.signalCode !== null);
    expect(isAlive(pid)).toBe(true);
    const server = await start();
    expect(isAlive(pid)).toBe(false);
    expect(await ask(server.url(), 'SELECT answer FROM kept')).toBe(9);
  });

  it('keeps its data where its user can reach it, and says so, when root started it in a private folder', async () => {
    const server = await start();
    const isRoot = process.getuid?.() === 0;
    expect(server.directory !== directory).toBe(isRoot);
    expect(reports.some((line) => line.includes(server.directory))).toBe(isRoot);
    if (isRoot) expect(readFileSync(join(directory, 'LOCATION'), 'utf8').trim()).toBe(server.directory);
  });

  it('begins again when it was killed while the cluster was being made', async () => {
    const first = await start();
    await first.stop();
    const home = first.directory;
    rmSync(join(home, 'pgdata'), { recursive: true });
    writeFileSync(join(home, 'pgdata.unfinished'), 'half a cluster');
    expect((await start()).pid).not.toBeNull();
    expect(existsSync(join(home, 'pgdata.unfinished'))).toBe(false);
  });
});

async function ask(url: string, sql: string): Promise<unknown> {
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => undefined);
  await client.connect();
  try {
    return (await client.query<{ answer: unknown }>(sql)).rows[0]?.answer;
  } finally {
    await client.end();
  }
}

/** The postmaster and its children, each by kill -9. */
function killAll(postmaster: number): void {
  const children = readFileSync(`/proc/${postmaster}/task/${postmaster}/children`, 'utf8').trim().split(' ').map(Number);
  for (const pid of [postmaster, ...children]) process.kill(pid, 'SIGKILL');
}

async function startInAnotherProgram(
  directory: string,
): Promise<{ program: ReturnType<typeof spawn>; pid: number; watchdog: number; url: string; home: string }> {
  const script = `
    const { EmbeddedPostgres } = await import(${JSON.stringify(BUILT)});
    const server = await EmbeddedPostgres.start({ directory: ${JSON.stringify(directory)}, database: 'tollgate', report: () => undefined });
    const { execFileSync } = await import('node:child_process');
    const { readFileSync } = await import('node:fs');
    const watchdog = readFileSync('/proc/self/task/' + process.pid + '/children', 'utf8').trim().split(' ').map(Number).find((pid) => pid !== server.pid);
    console.log(JSON.stringify({ pid: server.pid, watchdog, url: server.url(), home: server.directory }));
    setInterval(() => undefined, 1000);
  `;
  const program = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  const line = await new Promise<string>((resolve) => program.stdout.once('data', (chunk: Buffer) => resolve(chunk.toString())));
  return { program, ...(JSON.parse(line) as { pid: number; watchdog: number; url: string; home: string }) };
}
