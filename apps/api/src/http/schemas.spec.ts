import fc from 'fast-check';
import { z } from 'zod';
import { count, decodeCursor, encodeCursor, externalId, page, text, time, toPage, usd } from './schemas.js';
import { fieldProblems } from './validation.js';

const problems = (schema: z.ZodType, value: unknown): string[] => {
  const parsed = schema.safeParse(value);
  return parsed.success ? [] : fieldProblems(parsed.error.issues).map((problem) => `${problem.path}: ${problem.message}`);
};

describe('the scalar types of the wire', () => {
  it('S2 reads money from decimal text only, exactly', () => {
    expect(usd().parse('12.345678901')).toBe(12_345_678_901n);
    expect(usd({ min: null }).parse('-0.000000001')).toBe(-1n);
    expect(usd({ min: 1n }).safeParse('0').success).toBe(false);
    for (const value of [5, 0.1, '1e3', '0x10', ' 1', '', '-1', '9000000.000000001', '1.0000000001', null, NaN])
      expect(usd().safeParse(value).success).toBe(false);
  });

  it.each(['2026-02-30T00:00:00Z', '9999-12-31T23:59:59Z', '2026-11-22', '2026-11-22T12:00:00', 'now', ''])('refuses the time %j', (value) => {
    expect(time().safeParse(value).success).toBe(false);
  });

  it.each([
    ['NUL', 'a\u0000'],
    ['lone surrogate', '\ud800'],
    ['zero width', '\u200b'],
    ['direction override', '\u202e'],
    ['blank', '  '],
    ['too long', 'x'.repeat(11)],
  ])('refuses %s in text', (_what, value) => {
    expect(text(10).safeParse(value).success).toBe(false);
  });

  it('takes text in any script, emoji included', () => {
    for (const value of ['Müller & Söhne', '株式会社', 'ship 🚢']) expect(text(200).safeParse(value).success).toBe(true);
  });

  it('names every broken and every unknown field by its path', () => {
    const schema = z.strictObject({ items: z.array(z.strictObject({ id: externalId(), tokens: count(10) })) });
    expect(
      problems(schema, {
        items: [
          { id: 'a', tokens: 1, 'sur\u0000prise': 1 },
          { id: ' b', tokens: 1.5 },
        ],
        other: 1,
      }),
    ).toEqual([
      'items[0].sur?prise: unknown field',
      'items[1].id: must be 1 to 128 bytes of printable NFC text without leading or trailing space',
      'items[1].tokens: must be a whole number from 0 to 10',
      'other: unknown field',
    ]);
  });

  it('reports at most fifty problems, however many there are', () => {
    expect(
      problems(
        z.array(z.string()),
        Array.from({ length: 1_000 }, () => 1),
      ),
    ).toHaveLength(50);
  });
});

describe('lists', () => {
  const query = z.strictObject(page);

  it('returns 50 rows unless told otherwise, and never more than 500', () => {
    expect(query.parse({})).toEqual({ limit: 50 });
    expect(query.parse({ limit: '500' })).toEqual({ limit: 500 });
    for (const limit of ['501', '0', '-1', '1.5', '1e2', '', '0x10']) expect(query.safeParse({ limit }).success).toBe(false);
  });

  it('gives back any position through a cursor', () => {
    fc.assert(fc.property(fc.array(fc.string(), { minLength: 1 }), (position) => expect(decodeCursor(encodeCursor(position), () => true)).toEqual(position)));
  });

  it('refuses any text that is no cursor of this list', () => {
    fc.assert(fc.property(fc.string(), (cursor) => expect(() => decodeCursor(cursor, () => false)).toThrow('request.invalid')));
  });

  it('has a next page exactly when more rows follow', () => {
    const cut = (count: number) =>
      toPage(
        Array.from({ length: count }, (_, index) => index),
        2,
        (row) => [String(row)],
        String,
      );
    expect(cut(2)).toEqual({ data: ['0', '1'], next_cursor: null });
    expect(cut(3)).toEqual({ data: ['0', '1'], next_cursor: encodeCursor(['1']) });
    expect(cut(0)).toEqual({ data: [], next_cursor: null });
  });
});
