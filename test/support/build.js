/**
 * Brings `dist/` up to date before tests run it. Guarantees: what is spawned is the source as it is now, and two runs at once do not
 * load each other's half-written files. JavaScript, because jest runs global set-up outside its own TypeScript and alias handling.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, rmdirSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

export const ROOT = resolve(import.meta.dirname, '../..');
const BUILD_INFO = join(ROOT, 'dist/.tsbuildinfo');
const LOCK = join(ROOT, 'node_modules/.tollgate-build-lock');
const LOCK_STALE_MS = 120_000;

/** Builds when a source file is newer than the last build. Type errors are printed; `npm run check` is where they fail. */
export async function buildWhenStale() {
  await withLock(() => {
    if (!isStale()) return;
    const tsc = join(ROOT, 'node_modules/typescript/bin/tsc');
    const run = spawnSync(process.execPath, [tsc, '-p', join(ROOT, 'tsconfig.build.json')], { cwd: ROOT, encoding: 'utf8' });
    spawnSync(process.execPath, [join(ROOT, 'scripts/copy-assets.mjs')], { cwd: ROOT, stdio: 'inherit' });
    spawnSync(process.execPath, [join(ROOT, 'scripts/copy-assets.mjs')], { cwd: ROOT, stdio: 'inherit' });
    if (run.status !== 0) process.stderr.write(`\nThe build has type errors (tests run what was emitted):\n${run.stdout}${run.stderr}\n`);
  });
}

function isStale() {
  if (!existsSync(BUILD_INFO)) return true;
  const builtAt = statSync(BUILD_INFO).mtimeMs;
  const files = ['libs', 'apps', 'migrations'].filter((folder) => existsSync(join(ROOT, folder))).flatMap(sourcesIn);
  return [...files, join(ROOT, 'package.json'), join(ROOT, 'tsconfig.json')].some((file) => statSync(file).mtimeMs > builtAt);
}

function sourcesIn(folder) {
  return readdirSync(join(ROOT, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => join(entry.parentPath, entry.name));
}

async function withLock(work) {
  for (;;) {
    try {
      mkdirSync(LOCK);
      break;
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
      const age = Date.now() - (statSync(LOCK, { throwIfNoEntry: false })?.mtimeMs ?? Date.now());
      if (age > LOCK_STALE_MS) rmdirSync(LOCK);
      else await delay(100);
    }
  }
  try {
    return work();
  } finally {
    rmdirSync(LOCK);
  }
}
