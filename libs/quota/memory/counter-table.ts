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
  | { readonly kind: 'rolling'; readonly bucketMs: number; readonly buckets: Map<number, Sums> }
  /** End of each running call's slot by hold, in the order of their ends. */
  | { readonly kind: 'concurrent'; readonly slots: Map<string, number> };

const SMALLEST_LOOK = 1_024;
/** A clock that is set back a little must find the period it left. */
const GRACE_MS = 3_600_000;

export class CounterTable {
  private readonly counters = new Map<string, Counter>();
  private lookAt = SMALLEST_LOOK;

  view(counter: string, nowMs: number): CounterView {
    const found = this.counters.get(counter);
    if (!found) return EMPTY_COUNTER;
    if (found.kind === 'fixed') return { used: found.used, held: found.held, buckets: [] };
    if (found.kind === 'concurrent') return { used: 0n, held: BigInt(runningIn(found.slots, nowMs)), buckets: [] };
    const view = { used: 0n, held: 0n, buckets: [] as { startsAtMs: number; amount: bigint }[] };
    const oldest = oldestBucket(nowMs, found.bucketMs);
    for (const [startsAtMs, { used, held }] of found.buckets) {
      if (startsAtMs < oldest) {
        found.buckets.delete(startsAtMs);
        continue;
      }
      view.used += used;
      view.held += held;
      view.buckets.push({ startsAtMs, amount: used + held });
    }
    view.buckets.sort((a, b) => a.startsAtMs - b.startsAtMs);
    return view;
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
    sumsOf(counter, call.createdAtMs).held += change;
  }

  use({ counter, window, atMs, amount }: CounterDelta, nowMs: number): void {
    const found = this.counterOf(counter, window, nowMs);
    if (found.kind !== 'concurrent') sumsOf(found, atMs).used += amount;
  }

  private counterOf(key: string, window: Window, nowMs: number): Counter {
    let counter = this.counters.get(key);
    if (!counter) {
      if (this.counters.size >= this.lookAt) this.dropPast(nowMs);
      counter = newCounter(window);
      this.counters.set(key, counter);
    }
    return counter;
  }

  private dropPast(nowMs: number): void {
    for (const [key, counter] of this.counters) if (isPast(counter, nowMs)) this.counters.delete(key);
    this.lookAt = Math.max(SMALLEST_LOOK, 2 * this.counters.size);
  }
}

function newCounter(window: Window): Counter {
  if (window.kind === 'fixed') return { kind: 'fixed', endsAtMs: window.endsAtMs, used: 0n, held: 0n };
  if (window.kind === 'rolling') return { kind: 'rolling', bucketMs: window.bucketMs, buckets: new Map() };
  return { kind: 'concurrent', slots: new Map() };
}

function sumsOf(counter: Exclude<Counter, { kind: 'concurrent' }>, atMs: number): Sums {
  if (counter.kind === 'fixed') return counter;
  const startsAtMs = bucketStart(atMs, counter.bucketMs);
  let sums = counter.buckets.get(startsAtMs);
  if (!sums) counter.buckets.set(startsAtMs, (sums = { used: 0n, held: 0n }));
  return sums;
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
