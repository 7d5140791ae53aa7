/**
 * A real PostgreSQL with nothing but npm installed. Guarantees: it listens on 127.0.0.1 only and asks for a random password kept 0600;
 * it commits to disk (`synchronous_commit=on` and `fsync=on`, asserted) unless the caller says otherwise; no postmaster outlives this
 * process; one that died is started again on the same port, so that clients recover without a restart; the next start stops what an
 * earlier one left running and continues on the same data.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chownSync, closeSync, existsSync, openSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { findPostgresBinaries } from './binaries.js';
import { makePrivate, prepareClusterHome, type ClusterHome } from './cluster-home.js';
import { takeDataFolder } from './data-owner.js';
import { stopLeftoverPostmaster, postmasterStatus, waitUntilGone } from './postmaster.js';
import { Watchdog } from './watchdog.js';

export interface EmbeddedPostgresOptions {
  /** Where the cluster lives; made when absent. As root it may have to live elsewhere, see cluster-home.ts. */
  readonly directory: string;
  readonly database: string;
  /** Server settings on top of ours, such as `{ max_connections: '50' }`; they win. */
  readonly settings?: Readonly<Record<string, string>>;
  /** What went on that an operator should read, one line each. */
  readonly report: (level: 'info' | 'warn' | 'error', message: string) => void;
}

const LOGIN = 'tollgate';
/** Crash recovery replays up to max_wal_size; a minute is ample, and a start that takes longer should be looked at. */
const START_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 30_000;
const POLL_MS = 25;
const BIND_ATTEMPTS = 5;
const MAX_RESTART_DELAY_MS = 5_000;
const MAX_LOG_BYTES = 10 * 1024 * 1024;

const SETTINGS: Readonly<Record<string, string>> = {
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
  synchronous_commit: 'on',
  fsync: 'on',
  full_page_writes: 'on',
  max_connections: '100',
  shared_buffers: '256MB',
  max_wal_size: '2GB',
  // Short statements only: compiling them costs more than it saves.
  jit: 'off',
  timezone: 'UTC',
  log_timezone: 'UTC',
  password_encryption: 'scram-sha-256',
};

export class EmbeddedPostgres {
  private postmaster: ChildProcess | null = null;
  private stopping = false;
  private supervision: Promise<void> = Promise.resolve();

  private constructor(
    private readonly options: EmbeddedPostgresOptions,
    private readonly home: ClusterHome,
    private readonly password: string,
    private readonly watchdog: Watchdog,
    private readonly release: () => void,
    private port: number,
  ) {}

  /** Starts (and on the first time makes) the cluster. @throws DataFolderInUseError, or Error with the end of PostgreSQL's log */
  static async start(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
    const warn = (message: string): void => options.report('warn', message);
    const home = prepareClusterHome({ directory: options.directory, binaries: findPostgresBinaries(), warn });
    const release = takeDataFolder(home.directory);
    const dataDirectory = join(home.directory, 'pgdata');
    try {
      await stopLeftoverPostmaster(dataDirectory, warn);
      const password = await ensureCluster(home);
      const watchdog = new Watchdog(dataDirectory);
      const server = new EmbeddedPostgres(options, home, password, watchdog, release, 0);
      try {
        await server.firstLaunch();
        await server.prepareDatabase();
      } catch (error) {
        await server.stop();
        throw error;
      }
      return server;
    } catch (error) {
      release();
      throw error;
    }
  }

  /** Connection string of a database of this cluster; of the one given at start when left out. Holds the password. */
  url(database: string = this.options.database): string {
    return `postgresql://${LOGIN}:${this.password}@127.0.0.1:${this.port}/${encodeURIComponent(database)}`;
  }

  /** Process id of the postmaster, null while it is down. */
  get pid(): number | null {
    return this.postmaster?.pid ?? null;
  }

  /** Folder that really holds the cluster. */
  get directory(): string {
    return this.home.directory;
  }

  /** Ends all sessions, writes a checkpoint, stops. Safe to call twice. */
  async stop(): Promise<void> {
    if (this.stopping) return;
    this.stopping = true;
    await this.supervision;
    const child = this.postmaster;
    if (child) {
      const pid = child.pid as number;
      child.kill('SIGINT');
      if (!(await waitUntilGone(pid, STOP_TIMEOUT_MS))) {
        child.kill('SIGQUIT');
        await waitUntilGone(pid, STOP_TIMEOUT_MS);
      }
      this.postmaster = null;
    }
    await this.watchdog.dismiss();
    this.release();
  }

  private async firstLaunch(): Promise<void> {
    for (let attempt = 1; ; attempt += 1) {
      this.port = await freePort();
      try {
        return await this.launch();
      } catch (error) {
        // Somebody took the port between our look and PostgreSQL's bind.
        if (attempt >= BIND_ATTEMPTS || !/could not bind|could not create any TCP/.test(String(error))) throw error;
      }
    }
  }

  private async launch(): Promise<void> {
    const { binaries, directory, user } = this.home;
    const dataDirectory = join(directory, 'pgdata');
    const settings = Object.entries({ ...SETTINGS, ...this.options.settings }).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
    const log = openLog(directory);
    const child = spawn(join(binaries, 'bin', 'postgres'), ['-D', dataDirectory, '-p', String(this.port), ...settings], {
      ...user,
      cwd: directory,
      env: { LC_ALL: 'C', TZ: 'UTC' },
      detached: true,
      stdio: ['ignore', log.fd, log.fd],
    });
    closeSync(log.fd);
    const ended = new Promise<string>((resolve) => {
      child.once('error', (error) => resolve(error.message));
      child.once('exit', (code, signal) => resolve(`ended with ${signal ?? `code ${code}`}`));
    });
    const outcome: { text: string | null } = { text: null };
    void ended.then((text) => (outcome.text = text));
    if (child.pid === undefined) throw new Error(`PostgreSQL could not be started: ${await ended}`);
    this.watchdog.guard(child.pid);
    for (const deadline = performance.now() + START_TIMEOUT_MS; ;) {
      if (outcome.text !== null) throw new Error(`PostgreSQL ${outcome.text}: ${logSince(log.path, log.size)}`);
      if (postmasterStatus(dataDirectory, child.pid) === 'ready') break;
      if (performance.now() > deadline) {
        child.kill('SIGINT');
        throw new Error(`PostgreSQL was not ready within ${START_TIMEOUT_MS / 1_000} s: ${logSince(log.path, log.size)}`);
      }
      await delay(POLL_MS);
    }
    this.postmaster = child;
    child.unref();
    void ended.then((text) => this.onEnd(text));
  }

  /** The server died under us: bring it back on the same port, for ever, with growing pauses. */
  private onEnd(text: string): void {
    this.postmaster = null;
    if (this.stopping) return;
    this.options.report('error', `PostgreSQL ${text}; starting it again`);
    this.supervision = this.revive();
  }

  private async revive(): Promise<void> {
    for (let pauseMs = 100; !this.stopping; pauseMs = Math.min(pauseMs * 2, MAX_RESTART_DELAY_MS)) {
      try {
        await this.launch();
        this.options.report('warn', 'PostgreSQL is back after crash recovery');
        return;
      } catch (error) {
        // Sessions of the dead server may hold its shared memory for a moment: PostgreSQL refuses until they are gone.
        this.options.report('error', `PostgreSQL does not start yet: ${(error as Error).message}`);
      }
      await delay(pauseMs);
    }
  }

  private async prepareDatabase(): Promise<void> {
    const client = new pg.Client({ connectionString: this.url('postgres'), application_name: 'tollgate-embedded' });
    await client.connect();
    try {
      for (const name of ['synchronous_commit', 'fsync']) {
        const wanted = this.options.settings?.[name] ?? SETTINGS[name];
        const { rows } = await client.query<{ setting: string }>('SELECT setting FROM pg_settings WHERE name = $1', [name]);
        if (rows[0]?.setting !== wanted) throw new Error(`PostgreSQL runs with ${name}=${rows[0]?.setting}, which was to be ${wanted}`);
      }
      const { rowCount } = await client.query('SELECT FROM pg_database WHERE datname = $1', [this.options.database]);
      if (rowCount === 0) await client.query(`CREATE DATABASE ${pg.escapeIdentifier(this.options.database)}`);
    } finally {
      await client.end();
    }
  }
}

/** Makes the cluster when there is none and returns its password. The rename is the commit: a half-made cluster is made again. */
async function ensureCluster(home: ClusterHome): Promise<string> {
  const dataDirectory = join(home.directory, 'pgdata');
  const passwordFile = join(home.directory, 'password');
  if (existsSync(dataDirectory)) {
    if (!existsSync(passwordFile)) throw new Error(`${passwordFile} is missing: put it back, or move ${dataDirectory} away to begin anew`);
    return readFileSync(passwordFile, 'utf8').trim();
  }
  const password = randomBytes(24).toString('base64url');
  rmSync(passwordFile, { force: true });
  writeFileSync(passwordFile, `${password}\n`, { mode: 0o600 });
  const unfinished = `${dataDirectory}.unfinished`;
  rmSync(unfinished, { recursive: true, force: true });
  makePrivate(unfinished, home.user);
  const handOver = join(home.directory, `initdb-${process.pid}`);
  try {
    writeFileSync(handOver, `${password}\n`, { mode: 0o600 });
    if (home.user) chownSync(handOver, home.user.uid, home.user.gid);
    await runInitdb(home, unfinished, handOver);
  } finally {
    rmSync(handOver, { force: true });
  }
  renameSync(unfinished, dataDirectory);
  return password;
}

async function runInitdb(home: ClusterHome, dataDirectory: string, passwordFile: string): Promise<void> {
  // Byte order for sorting and Unicode rules for upper and lower case, the same on every machine.
  const args = ['--pgdata', dataDirectory, '--username', LOGIN, '--auth', 'scram-sha-256', '--pwfile', passwordFile, '--encoding', 'UTF8', '--locale', 'C'];
  const child = spawn(join(home.binaries, 'bin', 'initdb'), [...args, '--locale-provider', 'builtin', '--builtin-locale', 'C.UTF-8'], {
    ...home.user,
    cwd: home.directory,
    env: { LC_ALL: 'C', TZ: 'UTC', PATH: '/usr/bin:/bin' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  if (code !== 0) throw new Error(`initdb failed (${code}): ${output.slice(-2_000)}`);
}

/** Appends to postgres.log, keeping one older file. A file and not a pipe: a busy event loop must not block the server's writes. */
function openLog(directory: string): { fd: number; path: string; size: number } {
  const path = join(directory, 'postgres.log');
  if (existsSync(path) && statSync(path).size > MAX_LOG_BYTES) renameSync(path, `${path}.1`);
  const fd = openSync(path, 'a', 0o600);
  return { fd, path, size: statSync(path).size };
}

function logSince(path: string, offset: number): string {
  return readFileSync(path).subarray(offset).toString('utf8').trim().slice(-2_000);
}

async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve, reject) => {
    probe.once('error', reject);
    probe.listen(0, '127.0.0.1', resolve);
  });
  const { port } = probe.address() as AddressInfo;
  await new Promise<void>((resolve) => probe.close(() => resolve()));
  return port;
}
