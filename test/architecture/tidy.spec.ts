import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { RULES, sealedMigrations } from './rules.js';
import { foldersOf, readOurs, ROOT, SourceFile, sourceFiles } from './source-tree.js';

const files = sourceFiles();

describe('tidy: every file', () => {
  it.each(RULES)('$name', (rule) => {
    const problems = files.filter(rule.applies).flatMap((file) => rule.check(file).map((found) => `${file.path}:${found.line} ${found.message}`));
    expect(problems).toEqual([]);
  });

  it.each(RULES)('the rule "$name" flags its own bad sample', (rule) => {
    const sample = new SourceFile(rule.bad.path, rule.bad.text);
    expect(rule.applies(sample)).toBe(true);
    expect(rule.check(sample)).not.toEqual([]);
  });
});

describe('tidy: the tree explains itself', () => {
  it('every context has a README with what it owns and does not own', () => {
    const problems = foldersOf('libs').flatMap((folder) => {
      if (!existsSync(join(ROOT, folder, 'README.md')))
        return [`${folder}: no README.md. Write: owns, does not own, invariants, failure behaviour, decisions.`];
      const text = readOurs(`${folder}/README.md`).toLowerCase();
      return ['own', 'does not own']
        .filter((part) => !text.includes(part))
        .map((part) => `${folder}/README.md does not say what it "${part}"s: a reader cannot place new code.`);
    });
    expect(problems).toEqual([]);
  });

  it('the README\'s "Where does it live?" names every folder there is, and none that is not', () => {
    const section = readOurs('README.md').split('## Where does it live?')[1]?.split('\n## ')[0] ?? '';
    const named = new Set([...section.matchAll(/^\| `([^`]+)\/`/gm)].map((match) => match[1] ?? ''));
    const single = foldersOf('.').filter((folder) => !['libs', 'apps', 'test'].includes(folder));
    const there = [...foldersOf('libs'), ...foldersOf('apps'), ...foldersOf('test'), ...single];
    const missing = there
      .filter((folder) => !named.has(folder))
      .map((folder) => `${folder}/ has no row: add what lives there, so that the next reader finds it.`);
    const gone = [...named].filter((folder) => !existsSync(join(ROOT, folder))).map((folder) => `${folder}/ is named but not there: delete the row.`);
    expect([...missing, ...gone]).toEqual([]);
  });

  it('the README lists every variable that the configuration reads, and no other', () => {
    const read = [...readOurs('libs/platform/config/config.ts').matchAll(/^ {2}([A-Z][A-Z_]+): /gm)].map((match) => match[1]);
    const told = [...readOurs('README.md').matchAll(/^\| `([A-Z][A-Z_]+)` /gm)].map((match) => match[1]);
    expect(new Set(told)).toEqual(new Set(read));
  });
});

describe('tidy: mutations', () => {
  it('every committed mutation finds its text exactly once, so that `npm run mutate` proves what it says', () => {
    const mutations = files
      .filter((file) => file.path.startsWith('mutations/'))
      .flatMap((file) => JSON.parse(file.text) as { name: string; file: string; find: string; test: { file: string } }[]);
    const problems = mutations.flatMap(({ name, file, find, test }) => {
      const places = existsSync(join(ROOT, file)) ? readOurs(file).split(find).length - 1 : 0;
      if (places !== 1) return [`"${name}" finds its text ${places} times in ${file}: write the mutation for the code as it is now.`];
      return existsSync(join(ROOT, test.file)) ? [] : [`"${name}" names ${test.file}, which is gone: name the test that catches it now.`];
    });
    expect(problems).toEqual([]);
    expect(mutations.length).toBeGreaterThanOrEqual(12);
  });
});

describe('tidy: migrations', () => {
  const migrations = files.filter((file) => /^migrations\/\d+-.*\.ts$/.test(file.path));
  const sealed = sealedMigrations();

  it('a merged migration is never edited: databases that ran it would differ from new ones', () => {
    const problems = migrations.flatMap((file) => {
      const expected = sealed[file.path.slice('migrations/'.length)];
      const actual = createHash('sha256').update(file.text).digest('hex');
      if (expected === undefined) return [`${file.path} has no checksum. When it is final, run: node scripts/seal-migrations.mjs`];
      return actual === expected ? [] : [`${file.path} differs from what was merged. Undo the edit and write a new migration.`];
    });
    expect(problems).toEqual([]);
  });

  it('a merged migration is never deleted', () => {
    const there = new Set(migrations.map((file) => file.path.slice('migrations/'.length)));
    expect(Object.keys(sealed).filter((name) => !there.has(name))).toEqual([]);
  });

  it('a migration is listed in migrations/index.ts and can be taken back', () => {
    const index = readOurs('migrations/index.ts');
    const problems = migrations.flatMap((file) => [
      ...(index.includes(`./${file.path.slice('migrations/'.length, -'.ts'.length)}.js`)
        ? []
        : [`${file.path} is not in migrations/index.ts: it would never run.`]),
      ...(/async down\(runner: QueryRunner\): Promise<void> \{\s*await/.test(file.text)
        ? []
        : [`${file.path} has no down(): a failed release could not be taken back.`]),
    ]);
    expect(problems).toEqual([]);
  });
});
