/**
 * The first key of a fresh installation. Guarantees: made once, readable by its owner alone, never printed; a folder that cannot keep
 * a secret stops the start.
 */
import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export interface AdminKey {
  readonly key: string;
  /** Where it is kept. */
  readonly file: string;
}

const SECRET_BYTES = 32;

/** @throws Error when the file is readable by others or empty */
export function readOrMakeAdminKey(dataDir: string): AdminKey {
  const file = join(dataDir, 'admin.key');
  mkdirSync(dataDir, { recursive: true });
  try {
    writeFileSync(file, `tg_admin_${randomBytes(SECRET_BYTES).toString('base64url')}\n`, { flag: 'wx', mode: 0o600 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
  if ((statSync(file).mode & 0o077) !== 0) throw new Error(`${file} can be read by others: run \`chmod 600 ${file}\`, or delete it to get a new key`);
  const key = readFileSync(file, 'utf8').trim();
  if (key === '') throw new Error(`${file} is empty: delete it to get a new key`);
  return { key, file };
}
