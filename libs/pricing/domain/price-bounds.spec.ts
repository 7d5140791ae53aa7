import { pricesOf } from '../testing/price-decisions.js';
import { jumps, readPrices } from './price-bounds.js';
import { flatPrice, type PriceTable } from './price-table.js';

const tableOf = (prices: Readonly<Record<string, string>>): PriceTable =>
  new Map([...pricesOf(prices)].map(([component, price]) => [component, flatPrice(price)]));

describe('F27 an absurd price is refused before anybody is billed by it', () => {
  it.each([
    ['0.010000000000001', 'must be at most 0.01 USD per unit'],
    ['2.5', 'must be at most 0.01 USD per unit'],
    ['-1', 'must be a non-negative decimal string'],
    ['NaN', 'must be a non-negative decimal string'],
    ['1e-6', 'must be a non-negative decimal string'],
    ['0x10', 'must be a non-negative decimal string'],
    ['', 'must be a non-negative decimal string'],
    ['Infinity', 'must be a non-negative decimal string'],
    ['0.0000000000000001', 'at most 15 decimals'],
    ['1e309', 'must be a non-negative decimal string'],
  ])('%p a token', (text, rule) => {
    const { prices, problems } = readPrices({ input_tokens: text }, 'prices');
    expect(prices.size).toBe(0);
    expect(problems).toEqual([{ path: 'prices.input_tokens', message: expect.stringContaining(rule) }]);
  });

  it('a cent a token and 100 USD a page are the most', () => {
    expect(readPrices({ input_tokens: '0.01', 'meter:citation_tokens': '0.01', images: '100', 'meter:pages': '100' }, 'prices').problems).toEqual([]);
    expect(readPrices({ images: '100.01', 'meter:citation_tokens': '0.02' }, 'prices').problems).toHaveLength(2);
  });

  it.each(['tokens', 'meter:', 'meter: x', '__proto__', 'meter:a\u0000'])('%p is no component', (component) => {
    expect(readPrices(Object.fromEntries([[component, '1']]), 'prices').problems).toEqual([
      { path: `prices.${component}`, message: expect.stringContaining('usage pool') },
    ]);
  });

  it('no component at all is no decision', () => {
    expect(readPrices({}, 'prices').problems).toEqual([{ path: 'prices', message: 'must name at least one component' }]);
  });
});

describe('a price far from the one that applies now needs an operator who means it', () => {
  const now = tableOf({ input_tokens: '0.0000025', output_tokens: '0.00001' });

  it.each([
    ['0.00005', 0],
    ['0.000050000000001', 1],
    ['0.000000125', 0],
    ['0.000000124999999', 1],
    ['0', 1],
    ['0.0000025', 0],
  ])('%s for what costs 0.0000025: %i jumps', (text, count) => {
    expect(jumps(pricesOf({ input_tokens: text }), now)).toHaveLength(count);
  });

  it('a first price is no jump, a price after 0 is one', () => {
    expect(jumps(pricesOf({ images: '5' }), now)).toEqual([]);
    expect(jumps(pricesOf({ images: '0.000001' }), tableOf({ images: '0' }))).toHaveLength(1);
  });

  it('an inherited price is what applies now', () => {
    expect(jumps(pricesOf({ cache_read_tokens: '0.0001' }), now)).toHaveLength(1);
  });
});
