/**
 * How much calls answer, by (tenant, feature, model), in logarithmic buckets 10 % apart: enough for a p99 that is never below the truth
 * and at most 10 % above. A guess is learned from 200 calls on; below that the default stands.
 */
const BASE = Math.log(1.1);
const MAX_BUCKET = 250;
const MIN_CALLS = 200n;
const PERCENTILE = { numerator: 99n, denominator: 100n };

/** The bucket of an output of `tokens` (>= 0): its upper edge is at least `tokens`. */
export function bucketOfTokens(tokens: number): number {
  return tokens <= 1 ? 0 : Math.min(MAX_BUCKET, Math.ceil(Math.log(tokens) / BASE));
}

/** The largest output that falls into `bucket`. */
export function tokensOfBucket(bucket: number): number {
  return Math.ceil(Math.exp(bucket * BASE));
}

/** The p99 output in tokens, or null when fewer than 200 calls were seen. */
export function learnedOutput(callsByBucket: ReadonlyMap<number, bigint>): number | null {
  let total = 0n;
  for (const calls of callsByBucket.values()) total += calls;
  if (total < MIN_CALLS) return null;
  let seen = 0n;
  for (const bucket of [...callsByBucket.keys()].sort((a, b) => a - b)) {
    seen += callsByBucket.get(bucket) ?? 0n;
    if (seen * PERCENTILE.denominator >= total * PERCENTILE.numerator) return tokensOfBucket(bucket);
  }
  return null;
}
