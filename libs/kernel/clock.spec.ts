import { parseRfc3339, utcMonthLabel, utcMonthStart } from './clock.js';

describe('times of the wire', () => {
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
    'now',
    '',
  ])('refuses %p rather than guess', (text) => {
    expect(parseRfc3339(text)).toBeNull();
  });

  it('a month is the UTC month, whatever the offset said', () => {
    const at = new Date('2026-11-30T23:30:00-01:00');
    expect(utcMonthLabel(at)).toBe('2026-12');
    expect(utcMonthStart(at).toISOString()).toBe('2026-12-01T00:00:00.000Z');
  });
});
