/**
 * Reads PostgreSQL's own lock file, `postmaster.pid`. Guarantees: only a process that is a postmaster of this very data folder is
 * ever signalled, and `stopLeftoverPostmaster` returns with none running.
 */
import { readFileSync, realpathSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { commandLineOf, isAlive } from './process-table.js';

const POLL_MS = 25;
/** A fast shutdown writes a checkpoint first. */
const FAST_STOP_MS = 20_000;
const IMMEDIATE_STOP_MS = 10_000;
/** Line 8 of postmaster.pid, see PostgreSQL's src/include/utils/pidfile.h. */
const STATUS_LINE = 7;

function readPidFile(dataDirectory: string): string[] {
  try {
    return readFileSync(join(dataDirectory, 'postmaster.pid'), 'utf8').split('\n');
  } catch {
    return [];
  }
}

/** 'starting', 'ready', ... as the postmaster `pid` wrote it, or null while it has written nothing. */
export function postmasterStatus(dataDirectory: string, pid: number): string | null {
  const lines = readPidFile(dataDirectory);
  return lines[0] === String(pid) ? (lines[STATUS_LINE]?.trim() ?? null) : null;
}

/** Whether the process was gone within `timeoutMs`. */
export async function waitUntilGone(pid: number, timeoutMs: number): Promise<boolean> {
  for (const deadline = performance.now() + timeoutMs; isAlive(pid);) {
    if (performance.now() > deadline) return false;
    await delay(POLL_MS);
  }
  return true;
}

/** Stops a postmaster that outlived its owner. The caller has made sure that no living owner has the folder. */
export async function stopLeftoverPostmaster(dataDirectory: string, warn: (message: string) => void): Promise<void> {
  const lines = readPidFile(dataDirectory);
  const pid = Number(lines[0]);
  if (!Number.isSafeInteger(pid) || pid <= 1 || !isAlive(pid)) return;
  if (!isPostmasterOf(dataDirectory, pid, lines[1] ?? '')) {
    // The number was given to another program since (a reboot, a container): PostgreSQL alone would refuse to start for ever.
    warn(`postmaster.pid names process ${pid}, which is not PostgreSQL; removing it`);
    rmSync(join(dataDirectory, 'postmaster.pid'), { force: true });
    return;
  }
  warn(`stopping PostgreSQL (process ${pid}) that an earlier run left behind`);
  signal(pid, 'SIGINT');
  if (await waitUntilGone(pid, FAST_STOP_MS)) return;
  signal(pid, 'SIGQUIT');
  if (!(await waitUntilGone(pid, IMMEDIATE_STOP_MS))) throw new Error(`PostgreSQL (process ${pid}) of an earlier run does not stop`);
}

function isPostmasterOf(dataDirectory: string, pid: number, recorded: string): boolean {
  if (!commandLineOf(pid).includes('postgres')) return false;
  return recorded === dataDirectory || recorded === realpathSync(dataDirectory);
}

function signal(pid: number, name: 'SIGINT' | 'SIGQUIT'): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
