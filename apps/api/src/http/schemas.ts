/**
 * The wire's scalar types, shared by all routes: zod reads the text, libs/kernel holds the rule. Every string passes a check against
 * what PostgreSQL cannot store (NUL, lone surrogates), so that no caller's text ever becomes a 500.
 */
import { z } from 'zod';
import { EXTERNAL_ID_RULE, isExternalId, moneyRule, parseRfc3339, tryParseUsd, type Nano } from '#libs/kernel/index.js';
import { invalidRequest } from './validation.js';

const DEFAULT_LIMIT = 50;
const MAX_LIMIT = 500;
const MAX_CURSOR_LENGTH = 1_024;

/** An id given by the caller: 1 to 128 bytes of printable NFC text. */
export function externalId() {
  return z.string().refine(isExternalId, EXTERNAL_ID_RULE).meta({ description: EXTERNAL_ID_RULE, minLength: 1, maxLength: 128 });
}

// Control characters other than tab and newline, lone surrogates, and characters that print as nothing.
const UNPRINTABLE = /[\p{Cc}\p{Cs}\p{Co}\p{Cn}\p{Cf}]/u;
const TEXT_RULE = 'must be printable text';

/** Free text for people (a name, a reason): printable, not blank, at most `maxLength` characters. */
export function text(maxLength: number) {
  return z
    .string()
    .max(maxLength, `must have at most ${maxLength} characters`)
    .refine((value) => value.trim() !== '' && !UNPRINTABLE.test(value), TEXT_RULE)
    .meta({ minLength: 1, maxLength });
}

/** A decimal USD string, read into nano-USD. `min` defaults to 0; pass null for signed amounts. */
export function usd(options: { min?: Nano | null } = {}) {
  const min = options.min === undefined ? 0n : options.min;
  return z
    .string({ error: moneyRule('not_a_decimal') })
    .transform((value, context): Nano => {
      const parsed = tryParseUsd(value);
      if (!parsed.ok) {
        context.addIssue({ code: 'custom', message: moneyRule(parsed.problem) });
        return z.NEVER;
      }
      if (min !== null && parsed.nano < min) {
        context.addIssue({ code: 'custom', message: min === 0n ? 'must not be negative' : 'must be greater than zero' });
        return z.NEVER;
      }
      return parsed.nano;
    })
    .meta({ description: 'USD as a decimal string with at most 9 decimals', examples: ['12.345678901'] });
}

const TIME_RULE = 'must be an RFC 3339 time such as "2026-11-22T12:00:00Z"';

/** An RFC 3339 time of a day that exists, read into a Date. */
export function time() {
  return z
    .string({ error: TIME_RULE })
    .transform((value, context): Date => {
      const parsed = parseRfc3339(value);
      if (parsed !== null && parsed.getUTCFullYear() < MAX_YEAR) return parsed;
      context.addIssue({ code: 'custom', message: TIME_RULE });
      return z.NEVER;
    })
    .meta({ format: 'date-time' });
}
// Far enough for any expiry, near enough that adding durations stays inside what PostgreSQL and Date can hold.
const MAX_YEAR = 3000;

/** A count sent as a JSON number: a non-negative safe integer up to `max`. */
export function count(max: number) {
  return z.int(`must be a whole number from 0 to ${max}`).min(0, `must be a whole number from 0 to ${max}`).max(max, `must be a whole number from 0 to ${max}`);
}

/** `?limit=` (50, at most 500) and `?cursor=`; spread into a route's query schema: `z.strictObject({ ...page, tenant_id: externalId().optional() })`. */
export const page = {
  limit: z
    .string()
    .regex(/^[1-9][0-9]{0,2}$/, `must be a whole number from 1 to ${MAX_LIMIT}`)
    .transform(Number)
    .refine((value) => value <= MAX_LIMIT, `must be a whole number from 1 to ${MAX_LIMIT}`)
    .default(DEFAULT_LIMIT)
    .meta({ description: `rows to return, 1 to ${MAX_LIMIT}` }),
  cursor: z.string().max(MAX_CURSOR_LENGTH).optional().meta({ description: 'next_cursor of the page before' }),
};

/** Only `?limit=&cursor=`. */
export const pageQuery = z.strictObject(page);

/** `?from=&to=`, a half-open period. */
export const period = { from: time().optional(), to: time().optional() };

/** `?format=csv`, else JSON. */
export const format = { format: z.enum(['json', 'csv']).default('json') };

export interface Page<Row> {
  readonly data: readonly Row[];
  readonly next_cursor: string | null;
}

/** The schema of a list answer. */
export function pageOf<Row extends z.ZodType>(row: Row) {
  return z.object({ data: z.array(row), next_cursor: z.string().nullable() });
}

/** An opaque cursor for the position after a row, from the values the list is ordered by. */
export function encodeCursor(position: readonly string[]): string {
  return Buffer.from(JSON.stringify(position)).toString('base64url');
}

/**
 * The position inside a cursor made by {@link encodeCursor}; undefined without one. `valid` checks the parts, for a cursor is the caller's text
 * like any other. @throws DomainError request.invalid
 */
export function decodeCursor(cursor: string | undefined, valid: (position: readonly string[]) => boolean): readonly string[] | undefined {
  if (cursor === undefined) return undefined;
  const position = readCursor(cursor);
  if (position === null || !valid(position)) throw invalidRequest([{ path: 'cursor', message: 'must be the next_cursor of a page of this list' }]);
  return position;
}

function readCursor(cursor: string): readonly string[] | null {
  try {
    const value: unknown = JSON.parse(Buffer.from(cursor, 'base64url').toString('utf8'));
    return Array.isArray(value) && value.every((part) => typeof part === 'string') ? value : null;
  } catch {
    return null;
  }
}

/**
 * Cuts a page out of `rows`, which were read with `limit + 1` so that the extra one tells whether more follow.
 * `positionOf` gives the ordering values of a row.
 */
export function toPage<Row, Wire>(rows: readonly Row[], limit: number, positionOf: (row: Row) => readonly string[], toWire: (row: Row) => Wire): Page<Wire> {
  const shown = rows.slice(0, limit);
  const last = shown.at(-1);
  return { data: shown.map(toWire), next_cursor: rows.length > limit && last !== undefined ? encodeCursor(positionOf(last)) : null };
}
