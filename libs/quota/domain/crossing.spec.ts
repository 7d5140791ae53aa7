import { DEFAULT_THRESHOLDS, type Limits, type Threshold } from './budget.js';
import { NOTABLE_SHARE, passedThresholds, quietMsOf, shareOfLowest, WATCHED_SHARE } from './crossing.js';

const limits = (change: Partial<Limits>): Limits => ({ usdNano: null, tokens: null, requests: null, concurrent: null, ...change });
const used = (nano: bigint, tokens = 0n, requests = 0n) => ({ nano, tokens, requests });
const told = (thresholds: readonly Threshold[], of: Limits, by: ReturnType<typeof used>): string[] =>
  passedThresholds(thresholds, of, by).map(({ metric, percent, action }) => `${metric} ${percent} ${action}`);

describe('passedThresholds', () => {
  it('tells each threshold that is reached, exactly, of every metric that has a limit', () => {
    const hundred = limits({ usdNano: 100n, tokens: 10n });
    expect(told(DEFAULT_THRESHOLDS, hundred, used(49n, 4n))).toEqual([]);
    expect(told(DEFAULT_THRESHOLDS, hundred, used(50n, 4n))).toEqual(['usd 50 notify']);
    expect(told(DEFAULT_THRESHOLDS, hundred, used(79n, 10n, 1_000n))).toEqual(['usd 50 notify', 'tokens 50 notify', 'tokens 80 downgrade', 'tokens 100 block']);
  });

  it('takes the gravest of several at one percent, and the block that nobody named', () => {
    const thresholds: Threshold[] = [
      { percent: 90, action: 'downgrade', appliesTo: 'non_critical' },
      { percent: 90, action: 'notify', appliesTo: 'all' },
      { percent: 100, action: 'notify', appliesTo: 'all' },
    ];
    expect(told(thresholds, limits({ usdNano: 10n }), used(10n))).toEqual(['usd 90 downgrade', 'usd 100 block']);
    expect(told([{ percent: 120, action: 'block', appliesTo: 'all' }], limits({ usdNano: 10n }), used(11n))).toEqual([]);
  });

  it('a limit of nothing is never crossed', () => {
    expect(told(DEFAULT_THRESHOLDS, limits({ usdNano: 0n }), used(5n))).toEqual([]);
  });
});

describe('quietMsOf', () => {
  it('is the length of the window, and at least an hour', () => {
    expect([60, 3_600, 86_400].map((seconds) => quietMsOf({ kind: 'rolling', seconds }))).toEqual([3_600_000, 3_600_000, 86_400_000]);
  });
});

describe('what a rolling window need not be added up for', () => {
  it('a window below half of its lowest threshold stays below it while no sub-bucket is notable, and a notable one may pass it', () => {
    const thousand = limits({ requests: 1_220n });
    const share = (requests: bigint): number => shareOfLowest([{ percent: 100, action: 'block', appliesTo: 'all' }], thousand, used(0n, 0n, requests));
    expect(share(9n)).toBeLessThan(NOTABLE_SHARE);
    expect(share(10n)).toBeGreaterThanOrEqual(NOTABLE_SHARE);
    // Below half, then sixty-one sub-buckets that are not notable.
    expect(share(609n + 61n * 9n)).toBeLessThan(1);
    expect(share(609n)).toBeLessThan(WATCHED_SHARE);
    expect(share(610n)).toBeGreaterThanOrEqual(WATCHED_SHARE);
  });

  it('is measured in the fullest metric, against the lowest threshold', () => {
    expect(shareOfLowest(DEFAULT_THRESHOLDS, limits({ usdNano: 100n, tokens: 10n }), used(10n, 4n))).toBeCloseTo(0.8);
  });
});
