import fc from 'fast-check';
import { formatPrice, type FemtoPrice } from '../../kernel/index.js';
import { aRateCard, pricesOf } from '../testing/price-decisions.js';
import type { ComponentPrice, PriceTable } from './price-table.js';
import { AT_COST, sellRateFor, type SellRate } from './rate-card.js';
import { rate, rateReportedCost, type Rated } from './rate.js';
import { USAGE_POOLS, type Component, type Usage } from './usage.js';

/**
 * The oracle: exact fractions of decimal text, which shares no code with the product. A fraction is [numerator, denominator].
 */
type Fraction = readonly [bigint, bigint];

function fractionOf(decimal: string): Fraction {
  const [whole = '0', fraction = ''] = decimal.split('.');
  return [BigInt(whole + fraction), 10n ** BigInt(fraction.length)];
}

function plus([a, b]: Fraction, [c, d]: Fraction): Fraction {
  return [a * d + c * b, b * d];
}

function times([a, b]: Fraction, [c, d]: Fraction): Fraction {
  return [a * c, b * d];
}

/** Whether `nano` is within half a nano-dollar of the fraction of a dollar. */
function isNearest(nano: bigint, [numerator, denominator]: Fraction): boolean {
  const difference = nano * denominator - numerator * 10n ** 9n;
  return 2n * (difference < 0n ? -difference : difference) <= denominator;
}

const tableOf = (prices: Readonly<Record<string, string>>): PriceTable =>
  new Map([...pricesOf(prices)].map(([component, base]) => [component, { base, tiers: [] }]));
const run = (usage: Usage, prices: PriceTable, sell: SellRate = AT_COST, free = false): Rated => rate({ usage, prices, sell, free });
const sellAt = (markup: string, prices: Readonly<Record<string, string>> = {}): SellRate =>
  sellRateFor(aRateCard({ markup, prices: [{ prices }] }), 'openai', ['gpt-4o']);

const priceTexts = fc.bigInt({ min: 0n, max: 10n ** 13n }).map((femto) => formatPrice(femto));
const quantities = fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 200_000 }), fc.maxSafeNat());
const DISJOINT = USAGE_POOLS.filter((pool) => pool !== 'reasoning_tokens');
const calls = fc.record({
  prices: fc.record(Object.fromEntries([...DISJOINT, 'meter:web_search'].map((component) => [component, priceTexts]))),
  usage: fc.record(Object.fromEntries(DISJOINT.map((pool) => [pool, quantities]))),
  searches: quantities,
  markup: fc.integer({ min: -100, max: 500 }),
});

const sum = (values: readonly bigint[]): bigint => values.reduce((total, value) => total + value, 0n);

function exactCost(usage: Record<string, number>, searches: number, prices: Record<string, string>): Fraction {
  return [...Object.entries(usage), ['meter:web_search', searches] as const].reduce<Fraction>(
    (total, [component, quantity]) => plus(total, times([BigInt(quantity), 1n], fractionOf(prices[component] ?? '0'))),
    [0n, 1n],
  );
}

describe('L8 the cost of a call is exact and rounded once', () => {
  it('posted cost and charge are within half a nano-dollar of the exact fraction', () => {
    fc.assert(
      fc.property(calls, ({ prices, usage, searches, markup }) => {
        const rated = run({ ...usage, meters: { web_search: searches } }, tableOf(prices), sellAt(String(markup)));
        const exact = exactCost(usage, searches, prices);
        return rated.ok && isNearest(rated.costNano, exact) && isNearest(rated.chargeNano, times(exact, [BigInt(100 + markup), 100n]));
      }),
    );
  });

  it('lines add up to the totals, cost and charge apart, and none is a nano-dollar or more off', () => {
    fc.assert(
      fc.property(calls, ({ prices, usage, searches, markup }) => {
        const rated = run({ ...usage, meters: { web_search: searches } }, tableOf(prices), sellAt(String(markup)));
        if (!rated.ok) return false;
        const near = rated.lines.every((line) => {
          const difference = line.costNano * 1_000_000n - BigInt(line.quantity) * line.unitPrice;
          return difference > -1_000_000n && difference < 1_000_000n;
        });
        return near && sum(rated.lines.map((line) => line.costNano)) === rated.costNano && sum(rated.lines.map((line) => line.chargeNano)) === rated.chargeNano;
      }),
    );
  });

  it('three lines of 0.4 nano-dollars make one nano-dollar, on the first line', () => {
    const rated = run(
      { input_tokens: 1, cache_read_tokens: 1, output_tokens: 1 },
      tableOf({ input_tokens: '0.0000000004', cache_read_tokens: '0.0000000004', output_tokens: '0.0000000004' }),
    );
    expect(rated).toMatchObject({ ok: true, costNano: 1n, lines: [{ costNano: 1n }, { costNano: 0n }, { costNano: 0n }] });
  });

  it('exactly half a nano-dollar goes to the even one', () => {
    expect(run({ input_tokens: 1 }, tableOf({ input_tokens: '0.0000000005' }))).toMatchObject({ costNano: 0n });
    expect(run({ input_tokens: 3 }, tableOf({ input_tokens: '0.0000000005' }))).toMatchObject({ costNano: 2n });
  });

  it('without a markup the charge is the cost', () => {
    fc.assert(
      fc.property(calls, ({ prices, usage, searches }) => {
        const rated = run({ ...usage, meters: { web_search: searches } }, tableOf(prices));
        return rated.ok && rated.chargeNano === rated.costNano && rated.lines.every((line) => line.chargeNano === line.costNano);
      }),
    );
  });

  it('a markup is applied to the exact cost, not to the rounded one', () => {
    // 0.4 nano-dollars cost nothing; twice that is one nano-dollar.
    expect(run({ input_tokens: 1 }, tableOf({ input_tokens: '0.0000000004' }), sellAt('100'))).toMatchObject({ costNano: 0n, chargeNano: 1n });
  });
});

describe('a consumed component without a price is never free', () => {
  const prices = tableOf({ input_tokens: '0.000001', output_tokens: '0.000002' });

  it.each(['audio_input_tokens', 'audio_output_tokens', 'images'] as const)('%s makes the call unpriced', (pool) => {
    expect(run({ input_tokens: 10, [pool]: 1 }, prices)).toEqual({ ok: false, component: pool });
  });

  it('a meter nobody prices makes the call unpriced', () => {
    expect(run({ input_tokens: 10, meters: { code_execution: 1 } }, prices)).toEqual({ ok: false, component: 'meter:code_execution' });
  });

  it('a meter of the caller own work counts and costs nothing', () => {
    expect(run({ input_tokens: 10, meters: { mcp_tool_calls: 3, requests: 1, vector_reads: 9 } }, prices)).toMatchObject({
      ok: true,
      costNano: 10_000n,
      lines: [{ component: 'input_tokens' }],
    });
  });

  it('a component of quantity 0 needs no price', () => {
    expect(run({ input_tokens: 10, images: 0, meters: { code_execution: 0 } }, prices)).toMatchObject({ ok: true });
  });

  it('a price of 0 is a price', () => {
    expect(run({ input_tokens: 10 }, tableOf({ input_tokens: '0' }))).toMatchObject({
      ok: true,
      costNano: 0n,
      lines: [{ component: 'input_tokens', quantity: 10 }],
    });
  });
});

describe('what stands in for a price the list leaves out', () => {
  it('cached tokens cost what input costs where the list knows no cache price', () => {
    const prices = tableOf({ input_tokens: '0.000003' });
    expect(run({ cache_read_tokens: 2, cache_creation_tokens: 3, cache_creation_1h_tokens: 4, image_input_tokens: 5 }, prices)).toMatchObject({
      ok: true,
      costNano: 42_000n,
    });
  });

  it('writing costs what input costs where only reading has a price', () => {
    expect(run({ cache_creation_tokens: 3 }, tableOf({ input_tokens: '0.000003', cache_read_tokens: '0.000001' }))).toMatchObject({
      ok: true,
      costNano: 9_000n,
    });
  });

  it('a 1 hour write is not taken for a 5 minute write', () => {
    const prices = tableOf({ input_tokens: '0.000003', cache_read_tokens: '0.000001', cache_creation_tokens: '0.00000375' });
    expect(run({ cache_creation_1h_tokens: 3 }, prices)).toEqual({ ok: false, component: 'cache_creation_1h_tokens' });
  });

  it('a read beside a priced write is not taken for input', () => {
    expect(run({ cache_read_tokens: 3 }, tableOf({ input_tokens: '0.000003', cache_creation_tokens: '0.00000375' }))).toEqual({
      ok: false,
      component: 'cache_read_tokens',
    });
  });
});

describe('reasoning is inside output', () => {
  it('has no line of its own without a price of its own', () => {
    const rated = run({ output_tokens: 100, reasoning_tokens: 80 }, tableOf({ output_tokens: '0.00001' }));
    expect(rated).toMatchObject({ costNano: 1_000_000n, lines: [{ component: 'output_tokens', quantity: 100 }] });
  });

  it('with a price of its own the two lines share the output', () => {
    const rated = run({ output_tokens: 100, reasoning_tokens: 80 }, tableOf({ output_tokens: '0.00001', reasoning_tokens: '0.000003' }));
    expect(rated).toMatchObject({
      costNano: 440_000n,
      lines: [
        { component: 'output_tokens', quantity: 20 },
        { component: 'reasoning_tokens', quantity: 80 },
      ],
    });
  });

  it('audio output is outside of text output', () => {
    const rated = run({ output_tokens: 10, audio_output_tokens: 5 }, tableOf({ output_tokens: '0.00001', audio_output_tokens: '0.00008' }));
    expect(rated).toMatchObject({ costNano: 500_000n });
  });
});

describe('tiers are cliffs on the total input', () => {
  const tiered = (base: FemtoPrice, above: FemtoPrice): ComponentPrice => ({ base, tiers: [{ above: 200_000, price: above }] });
  const prices: PriceTable = new Map<Component, ComponentPrice>([
    ['input_tokens', tiered(3_000_000_000n, 6_000_000_000n)],
    ['cache_read_tokens', tiered(300_000_000n, 600_000_000n)],
    ['output_tokens', tiered(15_000_000_000n, 22_500_000_000n)],
  ]);

  it('200,000 input tokens are below the tier', () => {
    expect(run({ input_tokens: 100_000, cache_read_tokens: 100_000, output_tokens: 1 }, prices)).toMatchObject({
      costNano: 300_000_000n + 30_000_000n + 15_000n,
    });
  });

  it('one token more re-prices every token, output included', () => {
    expect(run({ input_tokens: 100_001, cache_read_tokens: 100_000, output_tokens: 1 }, prices)).toMatchObject({
      costNano: 600_006_000n + 60_000_000n + 22_500n,
    });
  });
});

describe('a price per request', () => {
  const prices = tableOf({ input_tokens: '0.000001', 'meter:requests': '0.012' });

  it('applies once to a call that does not count its requests', () => {
    expect(run({ input_tokens: 1 }, prices)).toMatchObject({ costNano: 12_001_000n });
  });

  it('applies to the count where there is one', () => {
    expect(run({ input_tokens: 1, meters: { requests: 2 } }, prices)).toMatchObject({ costNano: 24_001_000n });
  });

  it('does not make a call that consumed nothing cost something', () => {
    expect(run({ input_tokens: 0 }, prices)).toMatchObject({ ok: true, costNano: 0n, lines: [] });
  });
});

describe('what the tenant pays', () => {
  const prices = tableOf({ input_tokens: '0.000002', output_tokens: '0.00001' });

  it('a card price of a component replaces its marked-up cost', () => {
    const rated = run({ input_tokens: 100, output_tokens: 10 }, prices, sellAt('50', { output_tokens: '0.00004' }));
    expect(rated).toMatchObject({ costNano: 300_000n, chargeNano: 300_000n + 400_000n });
  });

  it('a card can sell what costs nothing', () => {
    const rated = run({ input_tokens: 100, meters: { vector_reads: 5 } }, prices, sellAt('0', { 'meter:vector_reads': '0.0001' }));
    expect(rated).toMatchObject({
      costNano: 200_000n,
      chargeNano: 700_000n,
      lines: [{ component: 'input_tokens' }, { component: 'meter:vector_reads', costNano: 0n, chargeNano: 500_000n }],
    });
  });

  it('a card price for output covers reasoning that costs apart', () => {
    const both = tableOf({ output_tokens: '0.00001', reasoning_tokens: '0.000003' });
    expect(run({ output_tokens: 100, reasoning_tokens: 80 }, both, sellAt('0', { output_tokens: '0.00002' }))).toMatchObject({ chargeNano: 2_000_000n });
  });

  it('a free call costs and charges nothing, line by line', () => {
    expect(run({ input_tokens: 100, output_tokens: 10 }, prices, sellAt('50'), true)).toMatchObject({
      costNano: 300_000n,
      chargeNano: 0n,
      lines: [{ chargeNano: 0n }, { chargeNano: 0n }],
    });
  });

  it('a reported cost is one line, marked up', () => {
    expect(rateReportedCost(59_092_000n, sellAt('10'), false)).toEqual({
      ok: true,
      costNano: 59_092_000n,
      chargeNano: 65_001_200n,
      lines: [{ component: 'reported_cost', quantity: 1, unitPrice: 59_092_000_000_000n, costNano: 59_092_000n, chargeNano: 65_001_200n }],
    });
  });
});
