import { readLines, writeLines } from './posting-lines.js';

describe('the lines of a posting', () => {
  test('come back as they were rated, as decimal money', () => {
    const lines = [
      { component: 'input_tokens', quantity: 176, unitPrice: 2_500_000_000n, costNano: 440_000n, chargeNano: 528_000n },
      { component: 'meter:web search', quantity: Number.MAX_SAFE_INTEGER, unitPrice: 0n, costNano: 0n, chargeNano: 9_000_000_000_000_000n },
    ];
    expect(readLines(writeLines(lines))).toEqual([
      { component: 'input_tokens', quantity: 176, unit_price: '0.0000025', cost_usd: '0.000440000', charge_usd: '0.000528000' },
      { component: 'meter:web search', quantity: Number.MAX_SAFE_INTEGER, unit_price: '0', cost_usd: '0.000000000', charge_usd: '9000000.000000000' },
    ]);
  });

  test('are an empty text where nothing was rated', () => {
    expect(writeLines([])).toBe('');
    expect(readLines('')).toEqual([]);
  });

  test('are never made up from a text that is none', () => {
    expect(() => readLines('176 2500000000 440000 input_tokens')).toThrow('not a rated line');
  });
});
