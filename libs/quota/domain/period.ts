/**
 * Calendar periods in a time zone, computed and never reset: the period is part of a counter's key. Every instant is in exactly one period
 * [start, end) of a kind, and the next one starts where it ends, whatever the zone does (T2). A local time that a zone skips starts at the
 * jump, one that it repeats starts at its first occurrence; hence the hour in which clocks go back lasts two.
 */

export const PERIODS = ['hour', 'day', 'week', 'month', 'total'] as const;
export type CalendarPeriod = (typeof PERIODS)[number];
export type Period = { readonly kind: CalendarPeriod } | { readonly kind: 'rolling'; readonly seconds: number };

export interface Span {
  readonly startsAtMs: number;
  /** Null: never. */
  readonly endsAtMs: number | null;
}

/** A local date and hour; months from 0. Only compared and counted up, never shown. */
interface Wall {
  readonly year: number;
  readonly month: number;
  readonly day: number;
  readonly hour: number;
}

const FOREVER: Span = { startsAtMs: 0, endsAtMs: null };
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const THURSDAY_TO_MONDAY = 3;

/** The period of `kind` that holds `atMs` in the IANA zone `zone`. */
export function periodAt(kind: CalendarPeriod, zone: string, atMs: number): Span {
  if (kind === 'total') return FOREVER;
  const local = new Date(localMs(zone, atMs));
  let wall = floorWall(kind, { year: local.getUTCFullYear(), month: local.getUTCMonth(), day: local.getUTCDate(), hour: local.getUTCHours() });
  let next = nextWall(kind, wall);
  let endsAtMs = firstInstant(zone, next);
  // Where a zone repeats the end of a period, its second half belongs to the next one already; a skipped day is no period.
  while (endsAtMs <= atMs) {
    wall = next;
    next = nextWall(kind, wall);
    endsAtMs = firstInstant(zone, next);
  }
  return { startsAtMs: firstInstant(zone, wall), endsAtMs };
}

function floorWall(kind: Exclude<CalendarPeriod, 'total'>, wall: Wall): Wall {
  switch (kind) {
    case 'hour':
      return wall;
    case 'day':
      return { ...wall, hour: 0 };
    case 'week': {
      const days = Math.floor(asUtc({ ...wall, hour: 0 }) / DAY_MS);
      const sinceMonday = (((days + THURSDAY_TO_MONDAY) % 7) + 7) % 7;
      return wallOf(asUtc({ ...wall, hour: 0 }) - sinceMonday * DAY_MS);
    }
    case 'month':
      return { ...wall, day: 1, hour: 0 };
  }
}

function nextWall(kind: Exclude<CalendarPeriod, 'total'>, wall: Wall): Wall {
  switch (kind) {
    case 'hour':
      return wallOf(asUtc(wall) + HOUR_MS);
    case 'day':
      return wallOf(asUtc(wall) + DAY_MS);
    case 'week':
      return wallOf(asUtc(wall) + 7 * DAY_MS);
    case 'month':
      return wall.month === 11 ? { ...wall, year: wall.year + 1, month: 0 } : { ...wall, month: wall.month + 1 };
  }
}

/** The first instant at which the zone's clocks show `wall` or later. */
function firstInstant(zone: string, wall: Wall): number {
  const shown = asUtc(wall);
  const candidates = [shown - offsetAt(zone, shown - DAY_MS), shown - offsetAt(zone, shown + DAY_MS)].sort((a, b) => a - b);
  for (const candidate of candidates) if (localMs(zone, candidate) === shown) return candidate;
  // Skipped: the jump is between the two, and up to it the clocks show less.
  let [before = shown, after = shown] = candidates;
  while (after - before > 1) {
    const middle = Math.floor((before + after) / 2);
    if (localMs(zone, middle) >= shown) after = middle;
    else before = middle;
  }
  return after;
}

function asUtc({ year, month, day, hour }: Wall): number {
  return Date.UTC(year, month, day, hour);
}

function wallOf(shownMs: number): Wall {
  const shown = new Date(shownMs);
  return { year: shown.getUTCFullYear(), month: shown.getUTCMonth(), day: shown.getUTCDate(), hour: shown.getUTCHours() };
}

function offsetAt(zone: string, atMs: number): number {
  return localMs(zone, atMs) - atMs;
}

const formats = new Map<string, Intl.DateTimeFormat>();

/** What the zone's clocks show at `atMs`, as if they were UTC. */
function localMs(zone: string, atMs: number): number {
  if (zone === 'UTC') return atMs;
  let format = formats.get(zone);
  if (!format) {
    format = new Intl.DateTimeFormat('en-US', {
      timeZone: zone,
      hourCycle: 'h23',
      year: 'numeric',
      month: '2-digit',
      day: '2-digit',
      hour: '2-digit',
      minute: '2-digit',
      second: '2-digit',
    });
    formats.set(zone, format);
  }
  const parts = new Map(format.formatToParts(atMs).map(({ type, value }) => [type, Number(value)]));
  const part = (type: Intl.DateTimeFormatPartTypes): number => parts.get(type) ?? 0;
  const ms = ((atMs % 1_000) + 1_000) % 1_000;
  return Date.UTC(part('year'), part('month') - 1, part('day'), part('hour'), part('minute'), part('second')) + ms;
}
