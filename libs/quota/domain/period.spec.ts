import fc from 'fast-check';
import { PERIODS, periodAt } from './period.js';

const ZONES = Intl.supportedValuesOf('timeZone');
const FROM = Date.UTC(2024, 0, 1);
const TO = Date.UTC(2030, 11, 31);
const kinds = PERIODS.filter((kind) => kind !== 'total');

/** What clocks in the zone show, by another way than the product's: the text of a Swedish date. */
function shown(zone: string, atMs: number): string {
  return new Intl.DateTimeFormat('sv-SE', { timeZone: zone, dateStyle: 'short', timeStyle: 'medium' }).format(atMs);
}

describe('T2 periods tile time, in every zone', () => {
  it('every instant is in the period that is told for it, and the next one begins where it ends', () => {
    fc.assert(
      fc.property(fc.constantFrom(...ZONES), fc.constantFrom(...kinds), fc.integer({ min: FROM, max: TO }), (zone, kind, atMs) => {
        const span = periodAt(kind, zone, atMs);
        const endsAtMs = span.endsAtMs ?? 0;
        expect(span.startsAtMs <= atMs && atMs < endsAtMs).toBe(true);
        expect(periodAt(kind, zone, span.startsAtMs)).toEqual(span);
        expect(periodAt(kind, zone, endsAtMs - 1)).toEqual(span);
        expect(periodAt(kind, zone, endsAtMs).startsAtMs).toBe(endsAtMs);
      }),
      { numRuns: 1_500 },
    );
  });

  it('a month and a day begin when the clocks first show them', () => {
    fc.assert(
      fc.property(fc.constantFrom(...ZONES), fc.constantFrom('day' as const, 'month' as const), fc.integer({ min: FROM, max: TO }), (zone, kind, atMs) => {
        const { startsAtMs } = periodAt(kind, zone, atMs);
        const length = kind === 'day' ? 10 : 7;
        expect(shown(zone, startsAtMs).slice(0, length)).toBe(shown(zone, atMs).slice(0, length));
        expect(shown(zone, startsAtMs - 1).slice(0, length) < shown(zone, atMs).slice(0, length)).toBe(true);
      }),
      { numRuns: 1_000 },
    );
  });

  it.each([
    ['day', 'Europe/Berlin', '2026-03-29T10:00:00Z', '2026-03-28T23:00:00Z', '2026-03-29T22:00:00Z', 'a day of 23 hours'],
    ['day', 'Europe/Berlin', '2026-10-25T10:00:00Z', '2026-10-24T22:00:00Z', '2026-10-25T23:00:00Z', 'a day of 25 hours'],
    ['day', 'Africa/Cairo', '2026-04-24T10:00:00Z', '2026-04-23T22:00:00Z', '2026-04-24T21:00:00Z', 'a midnight that is skipped'],
    ['day', 'Asia/Kathmandu', '2026-11-22T12:00:00Z', '2026-11-21T18:15:00Z', '2026-11-22T18:15:00Z', 'an offset of quarters'],
    ['month', 'America/New_York', '2026-11-22T12:00:00Z', '2026-11-01T04:00:00Z', '2026-12-01T05:00:00Z', 'a month with a change of clocks'],
    ['month', 'UTC', '2028-02-29T23:59:59.999Z', '2028-02-01T00:00:00Z', '2028-03-01T00:00:00Z', 'a leap year'],
    ['week', 'UTC', '2026-11-22T23:59:59Z', '2026-11-16T00:00:00Z', '2026-11-23T00:00:00Z', 'Sunday ends a week'],
    ['hour', 'Asia/Kolkata', '2026-11-22T12:00:00Z', '2026-11-22T11:30:00Z', '2026-11-22T12:30:00Z', 'an hour by the clocks'],
    ['hour', 'Europe/Berlin', '2026-10-25T01:30:00Z', '2026-10-25T00:00:00Z', '2026-10-25T02:00:00Z', 'the hour that clocks show twice'],
  ] as const)('%s in %s at %s is [%s, %s): %s', (kind, zone, at, start, end, _why) => {
    expect(periodAt(kind, zone, Date.parse(at))).toEqual({ startsAtMs: Date.parse(start), endsAtMs: Date.parse(end) });
  });

  it('a total never ends', () => {
    expect(periodAt('total', 'Asia/Tokyo', TO)).toEqual({ startsAtMs: 0, endsAtMs: null });
  });
});
