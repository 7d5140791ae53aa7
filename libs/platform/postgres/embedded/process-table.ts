/**
 * What the operating system says about a process id. Guarantees: a reused id is not taken for the process that had it before
 * (the start time is compared), and a zombie counts as gone. Reads /proc on Linux, asks `ps` elsewhere.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';

const HAS_PROC = existsSync('/proc/self/stat');
const START_TIME_FIELD = 19; // field 22 of proc(5) stat, counted from the field after the command's closing parenthesis

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
  return statFields(pid)?.[0] !== 'Z';
}

/** Text that differs between two processes that had the same id; null when there is no such process. */
export function startTimeOf(pid: number): string | null {
  if (!isAlive(pid)) return null;
  if (HAS_PROC) return statFields(pid)?.[START_TIME_FIELD] ?? null;
  return ask(pid, 'lstart=');
}

/** The command line, or '' when it cannot be read. */
export function commandLineOf(pid: number): string {
  if (!HAS_PROC) return ask(pid, 'command=') ?? '';
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
  } catch {
    return '';
  }
}

function statFields(pid: number): string[] | null {
  if (!HAS_PROC) return null;
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return text.slice(text.lastIndexOf(')') + 2).split(' ');
  } catch {
    return null;
  }
}

function ask(pid: number, column: string): string | null {
  try {
    return execFileSync('ps', ['-o', column, '-p', String(pid)], { encoding: 'utf8' }).trim() || null;
  } catch {
    return null;
  }
}
