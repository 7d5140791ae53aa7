import { Lately } from './lately.js';

/** Time is passed in, never read: every use case takes a Clock, tests freeze it. */
export abstract class Clock {
  abstract now(): Date;
}

/** The machine's clock; the only reader of it in the code base. */
export class SystemClock extends Clock {
  override now(): Date {
    return new Date();
  }
}

export const SECOND_MS = 1_000;
export const MINUTE_MS = 60 * SECOND_MS;
export const HOUR_MS = 60 * MINUTE_MS;
export const DAY_MS = 24 * HOUR_MS;

const RFC3339 = /^(\d{4})-(\d{2})-(\d{2})T(\d{2}):(\d{2}):(\d{2})(?:\.(\d{1,9}))?(Z|[+-]\d{2}:\d{2})$/;

/** UTC, and no day that some month lacks: nothing to be checked beyond its form. */
const PLAIN_TIME = /^[1-9]\d{3}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,9})?Z$/;

/**
 * Reads an RFC 3339 time strictly: 30 February is refused rather than rolled to March.
 * Returns null for anything else.
 */
export function parseRfc3339(text: string): Date | null {
  if (PLAIN_TIME.test(text)) return new Date(text);
  const match = RFC3339.exec(text);
  if (!match) return null;
  const [year, month, day, hour, minute, second] = match.slice(1, 7).map(Number) as [number, number, number, number, number, number];
  const calendar = new Date(Date.UTC(year, month - 1, day, hour, minute, second));
  const exact =
    calendar.getUTCFullYear() === year &&
    calendar.getUTCMonth() === month - 1 &&
    calendar.getUTCDate() === day &&
    calendar.getUTCHours() === hour &&
    calendar.getUTCMinutes() === minute &&
    calendar.getUTCSeconds() === second;
  if (!exact || year < 1) return null;
  const parsed = new Date(text);
  // An offset may carry the last hours of 9999 into a year of five digits, which is not RFC 3339 any more when printed. NaN fails too.
  const printable = parsed.getUTCFullYear() >= 1 && parsed.getUTCFullYear() <= 9999;
  return printable ? parsed : null;
}

const printedSeconds = new Lately<number, string>(256);

/** As `Date.toISOString` prints it. The second it is in is printed once: an answer has up to six times, and most are those of the answer before. */
export function isoOfMs(atMs: number): string {
  const second = Math.floor(atMs / SECOND_MS);
  const rest = String(atMs - second * SECOND_MS).padStart(3, '0');
  return `${printedSeconds.get(second, () => new Date(second * SECOND_MS).toISOString().slice(0, -4))}${rest}Z`;
}

/** First instant of the UTC month that holds `at`. */
export function utcMonthStart(at: Date): Date {
  return new Date(Date.UTC(at.getUTCFullYear(), at.getUTCMonth(), 1));
}

/** "2026-11" for any instant of November 2026 UTC. */
export function utcMonthLabel(at: Date): string {
  const month = at.getUTCMonth() + 1;
  return `${String(at.getUTCFullYear()).padStart(4, '0')}-${month < 10 ? '0' : ''}${month}`;
}
