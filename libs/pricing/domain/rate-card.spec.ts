import fc from 'fast-check';
import { formatMarkup, parseMarkup } from './rate-card.js';

describe('a markup is read from decimal text', () => {
  it('survives print and read', () => {
    fc.assert(fc.property(fc.bigInt({ min: -1_000_000n, max: 999_999_999n }), (markup) => parseMarkup(formatMarkup(markup)) === markup));
  });

  it.each([
    ['15', 150_000n],
    ['12.5', 125_000n],
    ['-100', -1_000_000n],
    ['0', 0n],
    ['15.0000', 150_000n],
    ['-0.0001', -1n],
  ])('%s', (text, markup) => {
    expect(parseMarkup(text)).toBe(markup);
  });

  it.each(['-100.0001', '1e2', '', '100000', '1.00001', '+1', ' 1', 'NaN'])('refuses %p: a tenant is never paid to consume', (text) => {
    expect(parseMarkup(text)).toBeNull();
  });
});
