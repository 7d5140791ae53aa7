/** COPY against the real server: what goes in is what was given, in all tables or in none, and the connection survives a refusal. */
import fc from 'fast-check';
import { copyBytes, copyPlain, copyText } from '#libs/platform/postgres/copy-in.js';
import { Database, sqlState } from '#libs/platform/postgres/database.js';
import { openTestDatabase, type TestDatabase } from '../support/database.js';

let database: TestDatabase;
/** One connection, so that whatever a failure left on it is met by the next. */
let db: Database;
beforeAll(async () => {
  database = await openTestDatabase({ empty: true });
  await database.db.execute('CREATE TABLE line (n integer PRIMARY KEY, words text, bytes bytea); CREATE TABLE other (n integer PRIMARY KEY)');
  db = new Database({ connectionString: database.url, maxConnections: 1, role: null, applicationName: 'test-copy' });
});
afterAll(async () => {
  await db.close();
  await database.close();
});
beforeEach(async () => {
  await db.execute('TRUNCATE line, other');
});

const numbers = (table: string, ...rows: number[]) => ({ table, columns: ['n'], rows: rows.map((n) => `${n}\n`).join('') });
const stored = async (table: string) => (await db.query<{ n: number }>(`SELECT n FROM ${table} ORDER BY n`)).map((row) => row.n);

test('any text comes back as it was given, null as null', async () => {
  const any = fc.option(
    fc.oneof(
      fc.string({ unit: 'binary' }).filter((text) => !text.includes('\u0000')),
      fc.constantFrom('\\N', '\\.', '\t', '\r\n', '\\', ''),
    ),
    { nil: null },
  );
  await fc.assert(
    fc.asyncProperty(fc.array(any, { minLength: 1, maxLength: 20 }), async (texts) => {
      await db.execute('TRUNCATE line');
      const rows = texts.map((text, n) => `${copyPlain(n)}\t${copyText(text)}\t${copyBytes(text === null ? null : 'c0ffee')}\n`).join('');
      expect(await db.copy([{ table: 'line', columns: ['n', 'words', 'bytes'], rows }])).toBe(texts.length);
      const read = await db.query<{ words: string | null; bytes: Buffer | null }>('SELECT words, bytes FROM line ORDER BY n');
      expect(read.map((row) => row.words)).toEqual(texts);
      expect(read.map((row) => row.bytes?.toString('hex') ?? null)).toEqual(texts.map((text) => (text === null ? null : 'c0ffee')));
    }),
    { numRuns: 50 },
  );
});

test('a table that is refused takes the others with it, before it and after it, and the connection goes on', async () => {
  await db.copy([numbers('line', 7)]);
  for (const tables of [
    [numbers('other', 1, 2), numbers('line', 6, 7, 8)],
    [numbers('line', 6, 7, 8), numbers('other', 1, 2)],
  ]) {
    await expect(db.copy(tables)).rejects.toMatchObject({ code: '23505' });
    expect(await stored('other')).toEqual([]);
    expect(await stored('line')).toEqual([7]);
  }
  await expect(db.copy([numbers('nowhere', 1), numbers('other', 1)])).rejects.toMatchObject({ code: '42P01' });
  expect(await db.copy([numbers('other', 1, 2), numbers('line', 8)])).toBe(3);
});

test('inside a transaction it is part of it', async () => {
  const failure = await db
    .transaction(async (tx) => {
      await tx.copy([numbers('other', 1)]);
      await tx.copy([numbers('line', 1, 1)]);
    })
    .catch((error: unknown) => error);
  expect(sqlState(failure)).toBe('23505');
  expect(await stored('other')).toEqual([]);
  await db.transaction(async (tx) => {
    await tx.copy([numbers('other', 1)]);
    await tx.execute('UPDATE other SET n = 2');
  });
  expect(await stored('other')).toEqual([2]);
});
