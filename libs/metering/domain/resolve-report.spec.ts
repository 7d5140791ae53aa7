import { isSameCall, resolveAgainst } from './resolve-report.js';

const known = (quality: number, hash = 'a') => ({ eventId: 'first', quality, hash });
const report = (quality: number, hash: string) => ({ quality, hash });

describe('a second report of the same event or call', () => {
  test.each([
    ['the same figures change nothing', known(7), report(7, 'a'), 'duplicate'],
    ['better quality corrects', known(4), report(7, 'b'), 'corrected'],
    ['worse quality never replaces a better figure', known(7), report(4, 'b'), 'duplicate'],
    ['equal quality with other money is a conflict and the first stays', known(7), report(7, 'b'), 'conflict'],
    ['any figure is better than none', known(0), report(1, 'b'), 'corrected'],
  ])('%s', (_rule, first, second, outcome) => {
    expect(resolveAgainst(first, second).outcome).toBe(outcome);
  });

  test('a repeated call id with another provider response is another call, so a constant call id cannot hide spend', () => {
    expect(isSameCall('r1', 'r2')).toBe(false);
    expect(isSameCall('r1', 'r1')).toBe(true);
    expect(isSameCall(null, 'r1')).toBe(true);
    expect(isSameCall('r1', null)).toBe(true);
  });
});
