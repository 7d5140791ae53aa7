/**
 * One tenant's counters. A counter that is not there stands at zero, because a tenant is loaded with everything that counts.
 * What can no longer count is dropped when the table has doubled since it was last looked through, so the memory is that of what counts now.
 */
import {
  bucketStart,
  EMPTY_COUNTER,
  oldestBucket,
  ROLLING_BUCKETS,
  type CounterDelta,
  type CounterView,
  type HeldClaim,
  type Window,
} from '../domain/limit.js';

interface Sums {
  used: bigint;
  held: bigint;
}
type Counter =
  | ({ readonly kind: 'fixed'; readonly endsAtMs: number | null } & Sums)
  | RollingCounter
  /** End of each running call's slot by hold, in the order of their ends. */
  | { readonly kind: 'concurrent'; readonly slots: Map<string, number> };

/** A window's sums are kept with it: adding up to 61 sub-buckets for every look at it cost more than the rest of a decision. */
interface RollingCounter extends Sums {
  readonly kind: 'rolling';
  readonly bucketMs: number;
  /** Their sum is the counter's own. */
  readonly buckets: Map<number, Sums>;
  /** No sub-bucket starts before it. */
  earliestMs: number;
}

const SMALLEST_LOOK = 1_024;
/** A clock that is set back a little must find the period it left. */
const GRACE_MS = 3_600_000;

export class CounterTable {
  /** Made with the first counter: most of many tenants have none. */
  private counters: Map<string, Counter> | null = null;
  private lookAt = SMALLEST_LOOK;

  view(counter: string, nowMs: number): CounterView {
    const found = this.counters?.get(counter);
    if (!found) return EMPTY_COUNTER;
    if (found.kind === 'concurrent') return { used: 0n, held: BigInt(runningIn(found.slots, nowMs)), buckets: NO_BUCKETS };
    if (found.kind === 'fixed') return { used: found.used, held: found.held, buckets: NO_BUCKETS };
    leaveBehind(found, oldestBucket(nowMs, found.bucketMs));
    return new RollingView(found);
  }

  /** Adds `change` to what is held, in the sub-bucket of the call's authorize. */
  hold(claim: HeldClaim, call: { readonly holdId: string; readonly createdAtMs: number }, change: bigint, nowMs: number): void {
    if (change === 0n) return;
    const counter = this.counterOf(claim.counter, claim.window, nowMs);
    if (counter.kind === 'concurrent') {
      if (change > 0n && claim.window.kind === 'concurrent') counter.slots.set(call.holdId, call.createdAtMs + claim.window.ttlMs);
      else counter.slots.delete(call.holdId);
      return;
    }
    if (counter.kind === 'rolling') bucketOf(counter, call.createdAtMs).held += change;
    counter.held += change;
  }

  use({ counter, window, atMs, amount }: CounterDelta, nowMs: number): void {
    const found = this.counterOf(counter, window, nowMs);
    if (found.kind === 'concurrent') return;
    if (found.kind === 'rolling') bucketOf(found, atMs).used += amount;
    found.used += amount;
  }

  private counterOf(key: string, window: Window, nowMs: number): Counter {
    this.counters ??= new Map();
    let counter = this.counters.get(key);
    if (!counter) {
      if (this.counters.size >= this.lookAt) this.dropPast(this.counters, nowMs);
      counter = newCounter(window);
      this.counters.set(key, counter);
    }
    return counter;
  }

  private dropPast(counters: Map<string, Counter>, nowMs: number): void {
    for (const [key, counter] of counters) if (isPast(counter, nowMs)) counters.delete(key);
    this.lookAt = Math.max(SMALLEST_LOOK, 2 * counters.size);
  }
}

const NO_BUCKETS: CounterView['buckets'] = [];

/** Its sub-buckets are only looked at by what refuses: to be read before anything changes. */
class RollingView implements CounterView {
  readonly used: bigint;
  readonly held: bigint;

  constructor(private readonly counter: RollingCounter) {
    this.used = counter.used;
    this.held = counter.held;
  }

  get buckets(): CounterView['buckets'] {
    const buckets = [...this.counter.buckets].map(([startsAtMs, { used, held }]) => ({ startsAtMs, amount: used + held }));
    return buckets.sort((a, b) => a.startsAtMs - b.startsAtMs);
  }
}

function newCounter(window: Window): Counter {
  if (window.kind === 'fixed') return { kind: 'fixed', endsAtMs: window.endsAtMs, used: 0n, held: 0n };
  if (window.kind === 'rolling')
    return { kind: 'rolling', bucketMs: window.bucketMs, buckets: new Map(), earliestMs: Number.POSITIVE_INFINITY, used: 0n, held: 0n };
  return { kind: 'concurrent', slots: new Map() };
}

function bucketOf(counter: RollingCounter, atMs: number): Sums {
  const startsAtMs = bucketStart(atMs, counter.bucketMs);
  let sums = counter.buckets.get(startsAtMs);
  if (!sums) {
    counter.buckets.set(startsAtMs, (sums = { used: 0n, held: 0n }));
    counter.earliestMs = Math.min(counter.earliestMs, startsAtMs);
  }
  return sums;
}

/** Takes the sub-buckets that have left the window out of its sums. */
function leaveBehind(counter: RollingCounter, oldestMs: number): void {
  if (counter.earliestMs >= oldestMs) return;
  counter.earliestMs = Number.POSITIVE_INFINITY;
  for (const [startsAtMs, { used, held }] of counter.buckets) {
    if (startsAtMs >= oldestMs) {
      counter.earliestMs = Math.min(counter.earliestMs, startsAtMs);
      continue;
    }
    counter.buckets.delete(startsAtMs);
    counter.used -= used;
    counter.held -= held;
  }
}

function runningIn(slots: Map<string, number>, nowMs: number): number {
  for (const [holdId, endsAtMs] of slots) {
    if (endsAtMs > nowMs) break;
    slots.delete(holdId);
  }
  return slots.size;
}

function isPast(counter: Counter, nowMs: number): boolean {
  if (counter.kind === 'fixed') return counter.endsAtMs !== null && counter.endsAtMs + GRACE_MS <= nowMs;
  if (counter.kind === 'concurrent') return runningIn(counter.slots, nowMs) === 0;
  return [...counter.buckets.keys()].every((startsAtMs) => startsAtMs + (ROLLING_BUCKETS + 1) * counter.bucketMs <= nowMs);
}
