/**
 * What a limit looks like to a store: numbers and opaque keys, nothing to look up and no dates to compute. Which limits apply is resolved
 * before (match-budgets.ts), so that one atomic step can judge all of them, whatever they mean.
 * Every number is an integer of at most 9e15 either way, and sums are compared by subtraction, so that stores with doubles stay exact.
 */

export const METRICS = ['usd', 'tokens', 'requests', 'concurrent'] as const;
/** `usd` counts nano-USD. */
export type Metric = (typeof METRICS)[number];

/** Over what time a counter adds up. A fixed one ends and is another counter afterwards; null never ends. */
export type Window =
  | { readonly kind: 'fixed'; readonly endsAtMs: number | null }
  | { readonly kind: 'rolling'; readonly bucketMs: number }
  | { readonly kind: 'concurrent'; readonly ttlMs: number };

/** Rolling windows are this many aligned sub-buckets long; the one that has left in part counts whole, so the window is never shorter than told. */
export const ROLLING_BUCKETS = 60;
/** A running call that nobody ends stops counting as running after this. */
export const CONCURRENT_TTL_MS = 120_000;

/** What of a claim is leased. */
export interface Lease {
  /** Percent of the limit at which the claim refuses; null: it does not. */
  readonly block: number | null;
  /** Percent at which a cheaper model is preferred; null: none. */
  readonly downgrade: number | null;
  /** False: the pool has not been asked for this call; where only the tenant's grant is too small, it is asked before anything is decided. */
  readonly isFinal: boolean;
}

/** What one limit asks of one candidate. */
export interface Claim {
  /** Whose it is, for people; stores do not look at it. */
  readonly budgetId: string;
  readonly kind: 'budget' | 'rate' | 'key';
  /** Opaque: budget and version, the values it is for, its period, its metric. */
  readonly counter: string;
  readonly metric: Metric;
  readonly window: Window;
  /** Told as a rate: requests or tokens of a rolling window or an hour. The rest are budgets. */
  readonly rate: boolean;
  /** What the operator set, top-ups and overrides included; what refuses is `blockAt`. */
  readonly limit: bigint;
  /** What this candidate takes. One that takes nothing of the metric always fits. */
  readonly amount: bigint;
  /** The requested model is not taken beyond this while its ladder has one that fits; null: no such threshold counts for this call. */
  readonly downgradeAt: bigint | null;
  /** Nothing is taken beyond this; null: the limit does not refuse this call. */
  readonly blockAt: bigint | null;
  /** False: taken and told (`would`), never refused. */
  readonly enforced: boolean;
  /** Taken, and neither refused nor told: what it counts is not exact yet, or it is paused. */
  readonly silent: boolean;
  /** Of a budget that all tenants share: its counter is the tenant's, and bounded by the tenant's grants as well. */
  readonly lease?: Lease | undefined;
}

/** What a hold keeps of a counter, remembered so that its end touches the same one (H8). */
export interface HeldClaim {
  readonly counter: string;
  readonly metric: Metric;
  readonly window: Window;
  readonly amount: bigint;
}

/** A counter as it stands. */
export interface CounterView {
  readonly used: bigint;
  readonly held: bigint;
  /** Of a rolling one: what counts now by sub-bucket, oldest first. */
  readonly buckets: readonly { readonly startsAtMs: number; readonly amount: bigint }[];
}

export const EMPTY_COUNTER: CounterView = { used: 0n, held: 0n, buckets: [] };

/** What was booked on a counter. `atMs`: when its call was asked for, which is the sub-bucket of a rolling one. */
export interface CounterDelta {
  readonly counter: string;
  readonly window: Exclude<Window, { kind: 'concurrent' }>;
  readonly atMs: number;
  /** Negative when a booking was taken back. */
  readonly amount: bigint;
}

/** The sub-bucket of a rolling window that `atMs` is in. */
export function bucketStart(atMs: number, bucketMs: number): number {
  return Math.floor(atMs / bucketMs) * bucketMs;
}

/** Where the oldest sub-bucket starts that still counts at `nowMs`. */
export function oldestBucket(nowMs: number, bucketMs: number): number {
  return bucketStart(nowMs - ROLLING_BUCKETS * bucketMs, bucketMs);
}

/** The sub-bucket size of a rolling window of `seconds`: rounded up, so that the window is never shorter than asked. */
export function bucketMsOf(seconds: number): number {
  return Math.ceil((seconds * 1_000) / ROLLING_BUCKETS);
}
