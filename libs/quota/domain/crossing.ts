/**
 * Which thresholds a counter has passed. A budget that refuses at 100 % because nobody named a `block` has that threshold too: whoever is
 * refused wants to know. Of several at one percent the gravest counts: it is one crossing.
 */
import { percentOf, type Limits, type Threshold } from './budget.js';
import type { Period } from './period.js';
import { ROLLING_BUCKETS, type Metric } from './limit.js';

export interface Used {
  readonly nano: bigint;
  readonly tokens: bigint;
  readonly requests: bigint;
}

export interface Passed {
  readonly metric: Exclude<Metric, 'concurrent'>;
  readonly percent: number;
  readonly action: Threshold['action'];
  readonly limit: bigint;
  readonly used: bigint;
}

const LEAST_GRAVE_FIRST: readonly Threshold['action'][] = ['notify', 'downgrade', 'block'];
const IMPLIED_BLOCK_PERCENT = 100;

/** A limit of nothing has no percent of it. */
export function passedThresholds(thresholds: readonly Threshold[], limits: Limits, used: Used): Passed[] {
  const metrics = [
    { metric: 'usd', limit: limits.usdNano, used: used.nano },
    { metric: 'tokens', limit: limits.tokens, used: used.tokens },
    { metric: 'requests', limit: limits.requests, used: used.requests },
  ] as const;
  const byPercent = [...gravest(thresholds)].sort(([a], [b]) => a - b);
  return metrics.flatMap((figures) =>
    byPercent.flatMap(([percent, action]): Passed[] => {
      if (figures.limit === null || figures.limit === 0n || figures.used < percentOf(figures.limit, percent)) return [];
      return [{ metric: figures.metric, percent, action, limit: figures.limit, used: figures.used }];
    }),
  );
}

function gravest(thresholds: readonly Threshold[]): Map<number, Threshold['action']> {
  const found = new Map<number, Threshold['action']>();
  if (!thresholds.some(({ action }) => action === 'block')) found.set(IMPLIED_BLOCK_PERCENT, 'block');
  for (const { percent, action } of thresholds) {
    const known = found.get(percent);
    if (known === undefined || LEAST_GRAVE_FIRST.indexOf(action) > LEAST_GRAVE_FIRST.indexOf(known)) found.set(percent, action);
  }
  return found;
}

const HOUR_MS = 3_600_000;

/**
 * For how long a crossing of a rolling window is not told again: its own length, but at least an hour. The window has no period in which
 * something could happen once, and one that hovers around a threshold passes it with every sub-bucket that leaves.
 */
export function quietMsOf(period: Extract<Period, { kind: 'rolling' }>): number {
  return Math.max(period.seconds * 1_000, HOUR_MS);
}

/** Of the lowest threshold, in the fullest of the metrics: 1 is reached. A number to compare, not an amount. */
export function shareOfLowest(thresholds: readonly Threshold[], limits: Limits, used: Used): number {
  const lowest = Math.min(...gravest(thresholds).keys());
  const share = (limit: bigint | null, amount: bigint): number => (limit === null || limit === 0n ? 0 : (Number(amount) * 100) / (Number(limit) * lowest));
  return Math.max(share(limits.usdNano, used.nano), share(limits.tokens, used.tokens), share(limits.requests, used.requests));
}

/** From this share of the lowest threshold on, every booking adds the window up. */
export const WATCHED_SHARE = 0.5;
/**
 * A sub-bucket with less than this cannot have led there: all 61 of a window together then hold less than the other half, so a window that was
 * last found below {@link WATCHED_SHARE} is still below the threshold.
 */
export const NOTABLE_SHARE = (1 - WATCHED_SHARE) / (ROLLING_BUCKETS + 1);
