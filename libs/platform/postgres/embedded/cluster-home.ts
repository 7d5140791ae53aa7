/**
 * Decides who runs the embedded PostgreSQL and where its files live. PostgreSQL refuses to run as root, and the user it then runs as
 * cannot reach a private home folder: programs and data are then kept where it can, and a note in the asked-for folder says where.
 * Guarantees: the same folder always leads to the same cluster, and the cluster's folder is closed to everybody else.
 */
import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { chmodSync, chownSync, cpSync, existsSync, lstatSync, mkdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';

export interface ServerUser {
  readonly uid: number;
  readonly gid: number;
}

export interface ClusterHome {
  /** Holds `pgdata/`, `password`, `owner.json` and `postgres.log`. */
  readonly directory: string;
  /** Holds `bin/`, `lib/`, `share/`. */
  readonly binaries: string;
  /** Whom PostgreSQL runs as; null: as we do. */
  readonly user: ServerUser | null;
}

const SYSTEM_STATE = '/var/lib/tollgate';
const SYSTEM_PATH = '/usr/sbin:/usr/bin:/sbin:/bin';
const SERVER_USER = 'postgres';

export function prepareClusterHome(input: { directory: string; binaries: string; warn: (message: string) => void }): ClusterHome {
  const asked = resolve(input.directory);
  if (process.getuid?.() !== 0) {
    mkdirSync(asked, { recursive: true, mode: 0o755 });
    return { directory: asked, binaries: input.binaries, user: null };
  }
  const user = serverUser();
  mkdirSync(asked, { recursive: true, mode: 0o755 });
  const binaries = reachable(input.binaries, user) ? input.binaries : copyBinaries(input.binaries, input.warn);
  if (reachable(asked, user)) return { directory: asked, binaries, user };
  const directory = join(stateFolder(input.warn), `cluster-${digest(asked)}`);
  mkdirSync(directory, { recursive: true, mode: 0o755 });
  writeFileSync(join(asked, 'LOCATION'), `${directory}\n`);
  input.warn(`PostgreSQL may not run as root, and its user cannot reach ${asked}: the data is kept in ${directory}`);
  return { directory, binaries, user };
}

/** Makes a folder that only the server's user can enter. */
export function makePrivate(directory: string, user: ServerUser | null): void {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  if (user) chownSync(directory, user.uid, user.gid);
  chmodSync(directory, 0o700);
}

function serverUser(): ServerUser {
  return lookUp() ?? createServerUser();
}

function lookUp(): ServerUser | null {
  const ask = (flag: string): number => Number(run('id', [flag, SERVER_USER]));
  try {
    return { uid: ask('-u'), gid: ask('-g') };
  } catch {
    return null;
  }
}

function createServerUser(): ServerUser {
  try {
    run('groupadd', ['--system', '--force', SERVER_USER]);
    run('useradd', ['--system', '--gid', SERVER_USER, '--no-create-home', '--shell', '/usr/sbin/nologin', SERVER_USER]);
  } catch (cause) {
    // Two processes may create it at the same moment; the second one finds it below.
    const found = lookUp();
    if (found) return found;
    throw new Error('PostgreSQL refuses to run as root and the user `postgres` could not be created; run as another user or set DATABASE_URL', { cause });
  }
  const user = lookUp();
  if (!user) throw new Error('the user `postgres` was created but cannot be found');
  return user;
}

function run(program: string, args: readonly string[]): string {
  return execFileSync(program, args, { encoding: 'utf8', env: { PATH: SYSTEM_PATH }, stdio: ['ignore', 'pipe', 'pipe'] });
}

/** Whether `user` may pass every folder on the way and enter the last one. Access lists beyond the mode bits are not considered. */
function reachable(path: string, user: ServerUser): boolean {
  for (let current = path; ; current = dirname(current)) {
    const { mode, uid, gid } = statSync(current);
    const bit = uid === user.uid ? 0o100 : gid === user.gid ? 0o010 : 0o001;
    if ((mode & bit) === 0) return false;
    if (current === dirname(current)) return true;
  }
}

/** One copy per version, put in place by a rename so that nobody runs half of it. */
function copyBinaries(from: string, warn: (message: string) => void): string {
  const target = join(stateFolder(warn), `postgresql-${digest(from + statSync(join(from, 'bin', 'postgres')).mtimeMs)}`);
  if (existsSync(target)) return target;
  const unfinished = `${target}.${randomBytes(4).toString('hex')}`;
  cpSync(from, unfinished, { recursive: true, verbatimSymlinks: true, filter: (file) => !basename(file).endsWith('.a') });
  chmodSync(unfinished, 0o755);
  try {
    renameSync(unfinished, target);
  } catch (error) {
    rmSync(unfinished, { recursive: true, force: true });
    if (!existsSync(target)) throw error;
  }
  return target;
}

function stateFolder(warn: (message: string) => void): string {
  try {
    mkdirSync(SYSTEM_STATE, { recursive: true, mode: 0o755 });
    return SYSTEM_STATE;
  } catch {
    const fallback = join(tmpdir(), 'tollgate-root');
    mkdirSync(fallback, { recursive: true, mode: 0o755 });
    // Anybody may create a folder there first: theirs is not ours.
    const found = lstatSync(fallback);
    if (!found.isDirectory() || found.uid !== 0 || (found.mode & 0o022) !== 0) throw new Error(`${fallback} belongs to somebody else`);
    warn(`${SYSTEM_STATE} cannot be written: files are kept in ${fallback}, which the system may clear; set TOLLGATE_DATA_DIR or DATABASE_URL`);
    return fallback;
  }
}

function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 16);
}
