/** Copies what tsc does not emit (JSON and Lua read at run time) from libs/ and apps/ to dist/, so that `node dist/...` finds it beside its reader. */
import { copyFileSync, mkdirSync, readdirSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';

const ASSET = /\.(json|lua)$/;

for (const root of ['libs', 'apps']) {
  for (const entry of readdirSync(root, { recursive: true })) {
    const source = join(root, entry);
    if (!ASSET.test(entry) || /(^|\/)(testing|node_modules)\//.test(entry) || !statSync(source).isFile()) continue;
    const target = join('dist', source);
    mkdirSync(dirname(target), { recursive: true });
    copyFileSync(source, target);
  }
}
