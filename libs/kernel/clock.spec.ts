import fc from 'fast-check';
import { isoOfMs, parseRfc3339, utcMonthLabel, utcMonthStart } from './clock.js';

describe('times of the wire', () => {
  it('prints a time as Date does, before 1970 and beyond 9999 too', () => {
    fc.assert(
      fc.property(fc.date({ noInvalidDate: true }), (at) => {
        expect(isoOfMs(at.getTime())).toBe(at.toISOString());
      }),
    );
  });

  it.each([
    ['2026-11-22T12:00:00Z', '2026-11-22T12:00:00.000Z'],
    ['2026-11-22T12:00:00.123456789+02:00', '2026-11-22T10:00:00.123Z'],
    ['2028-02-29T23:59:59Z', '2028-02-29T23:59:59.000Z'],
  ])('reads %s', (text, iso) => {
    expect(parseRfc3339(text)?.toISOString()).toBe(iso);
  });

  it.each([
    '2026-02-30T00:00:00Z',
    '2026-11-22',
    '2026-11-22T12:00:00',
    '2026-11-22T24:00:00Z',
    '2026-11-22T12:60:00Z',
    '2026-11-22T12:00:00+25:00',
    '2026-11-22T12:00:60Z',
    '2026-11-22T12:00:00z',
    '2026-11-22 12:00:00Z',
    '2026-13-01T00:00:00Z',
    '0000-01-01T00:00:00Z',
    '9999-12-31T23:59:59-23:59',
    '2026-11-22T12:00:00.Z',
    '2026-11-22T12:00:00.1234567890Z',
    ' 2026-11-22T12:00:00Z',
    '2026-11-22T12:00:00Z\n',
    'now',
    '',
  ])('refuses %p rather than guess', (text) => {
    expect(parseRfc3339(text)).toBeNull();
  });

  it('every printable instant survives print and read, to the millisecond', () => {
    const instants = fc.date({ min: new Date('0100-01-01T00:00:00Z'), max: new Date('9999-12-31T23:59:59.999Z'), noInvalidDate: true });
    fc.assert(fc.property(instants, (at) => parseRfc3339(at.toISOString())?.getTime() === at.getTime()));
  });

  it('an offset moves the clock, not the instant', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 23 }), fc.integer({ min: 0, max: 59 }), fc.constantFrom('+', '-'), (hours, minutes, sign) => {
        const offset = `${sign}${String(hours).padStart(2, '0')}:${String(minutes).padStart(2, '0')}`;
        const shift = (hours * 60 + minutes) * 60_000 * (sign === '+' ? 1 : -1);
        return parseRfc3339(`2026-11-22T12:00:00${offset}`)?.getTime() === Date.UTC(2026, 10, 22, 12) - shift;
      }),
    );
  });

  it('a month is the UTC month, whatever the offset said', () => {
    const at = new Date('2026-11-30T23:30:00-01:00');
    expect(utcMonthLabel(at)).toBe('2026-12');
    expect(utcMonthStart(at).toISOString()).toBe('2026-12-01T00:00:00.000Z');
  });
});
