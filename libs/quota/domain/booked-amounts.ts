/** What bookings add to one counter of a budget, and how a quota store hears of it. */
import type { CounterDelta } from './limit.js';
import { counterKey, limitsOf, windowOf, type Match } from './match-budgets.js';

export interface BookedAmounts {
  readonly match: Match;
  /** The period's start, or the sub-bucket's of a rolling one. */
  readonly periodMs: number;
  readonly nano: bigint;
  readonly tokens: bigint;
  readonly requests: bigint;
}

/** The same as a quota store hears it: one delta for each metric that has a limit. */
export function deltasOf({ match, periodMs, nano, tokens, requests }: BookedAmounts): CounterDelta[] {
  const limits = limitsOf(match);
  const deltas: CounterDelta[] = [];
  const add = (metric: 'usd' | 'tokens' | 'requests', limit: bigint | null, amount: bigint): void => {
    const window = windowOf(match, metric);
    if (limit !== null && amount !== 0n && window.kind !== 'concurrent') deltas.push({ counter: counterKey(match, metric), window, atMs: periodMs, amount });
  };
  add('usd', limits.usdNano, nano);
  add('tokens', limits.tokens, tokens);
  add('requests', limits.requests, requests);
  return deltas;
}
