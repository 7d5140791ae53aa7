/** Adds the SHA-256 of migrations that have none yet to test/architecture/migration-checksums.json. It never changes one: a merged migration is never edited. */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';

const SEALS = 'test/architecture/migration-checksums.json';
const sealed = JSON.parse(readFileSync(SEALS, 'utf8'));
for (const name of readdirSync('migrations').sort()) {
  if (!/^\d+-.*\.ts$/.test(name)) continue;
  sealed[name] ??= createHash('sha256')
    .update(readFileSync(`migrations/${name}`))
    .digest('hex');
}
writeFileSync(SEALS, `${JSON.stringify(sealed, null, 2)}\n`);
