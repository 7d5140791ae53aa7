/**
 * The real program as a process of its own, `node dist/apps/standalone/main.js` (built by the global set-up), for tests that kill it.
 * Guarantees: port 0 of 127.0.0.1, a data folder of its own unless one is given, and nothing left running when the test is over.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { chmodSync, chownSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

export const ADMIN_KEY = 'an-admin-key-for-tests-only';
const ROOT = resolve(import.meta.dirname, '../..');
const START_TIMEOUT_MS = 60_000;

export interface Program {
  readonly url: string;
  readonly pid: number;
  readonly dataDir: string;
  output(): string;
  /** Resolves when the process is gone, whoever ended it. */
  readonly ended: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  /** Sends the signal and waits for the end. */
  end(signal: NodeJS.Signals): Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  /** Says something to a program started with `channel`, and waits for its answer. */
  tell(message: object): Promise<any>;
  call(method: string, path: string, body?: unknown, headers?: Readonly<Record<string, string>>): Promise<{ status: number; headers: Headers; body: any }>;
}

export interface ProgramOptions {
  readonly dataDir?: string;
  readonly environment?: Readonly<Record<string, string>>;
  readonly user?: { readonly uid: number; readonly gid: number };
  /** Where the program's files are, when not in the repository. */
  readonly root?: string;
  /** Which node runs it. */
  readonly node?: string;
  /** Opens a channel for {@link Program.tell}; only programs of a crash tree listen. */
  readonly channel?: boolean;
}

const running = new Set<ChildProcess>();
const folders = new Set<string>();

/** A folder that another user may be given. */
export function makeDataDir(user?: { uid: number; gid: number }): string {
  const folder = mkdtempSync(join(tmpdir(), 'tollgate-e2e-'));
  chmodSync(folder, 0o755);
  if (user) chownSync(folder, user.uid, user.gid);
  folders.add(folder);
  return folder;
}

/** Starts it and waits until it says where it listens. @throws Error with its output when it ends instead */
export async function startStandalone(options: ProgramOptions = {}): Promise<Program> {
  const dataDir = options.dataDir ?? makeDataDir(options.user);
  const child = spawnStandalone({ ...options, dataDir });
  let output = '';
  child.stdout?.on('data', (chunk: Buffer) => (output += chunk.toString()));
  child.stderr?.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const ended = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((done) =>
    child.once('exit', (code, signal) => {
      running.delete(child);
      done({ code, signal });
    }),
  );
  const url = await listening(child, () => output);
  const call: Program['call'] = async (method, path, body, more) => {
    const response = await fetch(url + path, {
      method,
      headers: { authorization: `Bearer ${ADMIN_KEY}`, ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...more },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(45_000),
    });
    const text = await response.text();
    return { status: response.status, headers: response.headers, body: text === '' ? null : JSON.parse(text) };
  };
  const end: Program['end'] = async (signal) => {
    child.kill(signal);
    return await ended;
  };
  const tell: Program['tell'] = async (message) =>
    await new Promise((resolve, reject) => {
      child.once('message', resolve);
      child.send(message, (error) => error && reject(error));
    });
  return { url, pid: child.pid as number, dataDir, output: () => output, ended, end, call, tell };
}

/** Runs it to its end, for starts that are to be refused. */
export async function runStandalone(options: ProgramOptions): Promise<{ code: number | null; output: string }> {
  const child = spawnStandalone({ ...options, dataDir: options.dataDir ?? makeDataDir() });
  let output = '';
  child.stdout?.on('data', (chunk: Buffer) => (output += chunk.toString()));
  child.stderr?.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const code = await new Promise<number | null>((done) => child.once('close', done));
  running.delete(child);
  return { code, output };
}

/** Call in afterAll: ends what still runs and removes the data folders. */
export async function cleanUpPrograms(): Promise<void> {
  await Promise.all(
    [...running].map(async (child) => {
      const gone = new Promise<void>((done) => child.once('exit', () => done()));
      child.kill('SIGTERM');
      await Promise.race([gone, delay(30_000, null, { ref: false }).then(() => child.kill('SIGKILL'))]);
    }),
  );
  for (const folder of folders) {
    const location = join(folder, 'postgres', 'LOCATION');
    if (existsSync(location)) rmSync(readFileSync(location, 'utf8').trim(), { recursive: true, force: true });
    rmSync(folder, { recursive: true, force: true });
  }
  folders.clear();
}

/** The PostgreSQL a program runs for itself: its address as superuser and the id of its postmaster. */
export function embeddedPostgresOf(dataDir: string): { url: string; postmaster: number } {
  const asked = join(dataDir, 'postgres');
  const location = join(asked, 'LOCATION');
  const home = existsSync(location) ? readFileSync(location, 'utf8').trim() : asked;
  const lines = readFileSync(join(home, 'pgdata', 'postmaster.pid'), 'utf8').split('\n');
  const password = readFileSync(join(home, 'password'), 'utf8').trim();
  return { url: `postgresql://tollgate:${password}@127.0.0.1:${lines[3]}/tollgate`, postmaster: Number(lines[0]) };
}

/** kill -9 of a postmaster and every process it started. */
export function killPostgres(postmaster: number): void {
  const children = readFileSync(`/proc/${postmaster}/task/${postmaster}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number);
  for (const pid of [postmaster, ...children]) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch (error) {
      // A child may notice the postmaster's end and leave before its turn.
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }
}

function spawnStandalone(options: ProgramOptions & { dataDir: string }): ChildProcess {
  const root = options.root ?? ROOT;
  const child = spawn(options.node ?? process.execPath, [join(root, 'dist/apps/standalone/main.js')], {
    cwd: root,
    env: {
      PATH: process.env['PATH'],
      PORT: '0',
      TOLLGATE_DATA_DIR: options.dataDir,
      TOLLGATE_ADMIN_KEY: ADMIN_KEY,
      LOG_LEVEL: 'warn',
      ...options.environment,
    },
    stdio: ['ignore', 'pipe', 'pipe', ...(options.channel ? (['ipc'] as const) : [])],
    ...(process.getuid?.() === 0 ? options.user : {}),
  });
  running.add(child);
  return child;
}

async function listening(child: ChildProcess, output: () => string): Promise<string> {
  for (const deadline = performance.now() + START_TIMEOUT_MS; ; await delay(20)) {
    const match = /Tollgate is running at (http:\/\/\S+)/.exec(output());
    if (match?.[1]) return match[1];
    if (child.exitCode !== null || child.signalCode !== null) throw new Error(`the program ended instead of starting: ${output()}`);
    if (performance.now() > deadline) throw new Error(`the program did not start within ${START_TIMEOUT_MS / 1_000} s: ${output()}`);
  }
}
