/**
 * The Tollgate a demo talks to, over HTTP only: the one of TOLLGATE_URL, else one that runs at its usual address, else one of the demo's
 * own on a free port with a data folder that is thrown away.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const STANDALONE = fileURLToPath(new URL('../../apps/standalone/main.js', import.meta.url));
const DEFAULT_URL = `http://127.0.0.1:${process.env['PORT'] ?? '8080'}`;
const DATA_DIR = process.env['TOLLGATE_DATA_DIR'] ?? './data';

export interface Tollgate {
  readonly url: string;
  readonly adminKey: string;
  /** Whether it is the demo's own and gone afterwards. */
  readonly ownServer: boolean;
  close(): Promise<void>;
}

/** @throws Error that says what to set when a server runs whose key is not known */
export async function findOrStartTollgate(): Promise<Tollgate> {
  const asked = process.env['TOLLGATE_URL'];
  const adminKey = process.env['TOLLGATE_ADMIN_KEY'] ?? keyFileIn(DATA_DIR);
  const url = asked ?? DEFAULT_URL;
  if (asked !== undefined || (adminKey !== null && (await isTollgate(url)))) {
    if (adminKey === null) throw new Error(`set TOLLGATE_ADMIN_KEY to a key of ${url}`);
    return { url, adminKey, ownServer: false, close: () => Promise.resolve() };
  }
  return await startTollgate();
}

function keyFileIn(dataDir: string): string | null {
  const file = join(dataDir, 'admin.key');
  return existsSync(file) ? readFileSync(file, 'utf8').trim() : null;
}

async function isTollgate(url: string): Promise<boolean> {
  try {
    return (await fetch(`${url}/health/ready`)).ok;
  } catch {
    return false;
  }
}

/** One of its own, of the code as it is built now. */
export async function startTollgate(): Promise<Tollgate> {
  const dataDir = mkdtempSync(join(tmpdir(), 'tollgate-demo-'));
  const { DATABASE_URL: _database, REDIS_URL: _redis, TOLLGATE_ADMIN_KEY: _key, ...environment } = process.env;
  const server = spawn(process.execPath, [STANDALONE], {
    env: { ...environment, PORT: '0', HOST: '127.0.0.1', TOLLGATE_DATA_DIR: dataDir, LOG_LEVEL: 'warn' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const close = async (): Promise<void> => {
    await stop(server);
    removeDataDir(dataDir);
  };
  try {
    return { url: await urlOf(server), adminKey: keyFileIn(dataDir) ?? '', ownServer: true, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** The server prints where it listens once it is ready. */
async function urlOf(server: ChildProcess): Promise<string> {
  return await new Promise<string>((resolve, reject) => {
    let printed = '';
    server.stdout?.on('data', (text: Buffer) => {
      printed += text.toString('utf8');
      const url = /running at (http:\/\/\S+)/.exec(printed)?.[1];
      if (url !== undefined) resolve(url);
    });
    server.once('exit', (code) => reject(new Error(`the server ended with code ${code} instead of starting`)));
  });
}

async function stop(server: ChildProcess): Promise<void> {
  if (server.exitCode !== null || server.signalCode !== null) return;
  const gone = new Promise<void>((resolve) => server.once('exit', () => resolve()));
  server.kill('SIGTERM');
  await gone;
}

/** As root the database lives where its own user can reach it; LOCATION names that place. */
function removeDataDir(dataDir: string): void {
  const location = join(dataDir, 'postgres', 'LOCATION');
  if (existsSync(location)) rmSync(readFileSync(location, 'utf8').trim(), { recursive: true, force: true });
  rmSync(dataDir, { recursive: true, force: true });
}
