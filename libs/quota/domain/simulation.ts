/**
 * What a draft budget would have done, added up call by call: a pure tally in bounded memory, whatever the length of the history. Of counters
 * the fullest are kept: one whose period is over gives up its place as soon as there are many, so at most those of the running periods are here.
 */
import type { Nano } from '#libs/kernel/index.js';
import { percentOf, type Attributes, type Threshold } from './budget.js';
import type { ReasonCode } from './decision.js';
import type { Claim, Metric } from './limit.js';
import { OTHER_VALUES, type Match } from './match-budgets.js';

/** Which counter a figure is of. */
export interface CounterName {
  /** Of the store: opaque. */
  readonly key: string;
  readonly metric: Metric;
  /** The values of `per`; null: of all values beyond the first 10,000. */
  readonly values: Readonly<Record<string, string>> | null;
  /** Null: a rolling window. */
  readonly startsAtMs: number | null;
  /** Null: never, or a rolling window. */
  readonly endsAtMs: number | null;
}

export function counterName(claim: Claim, { rule, valueKey, span }: Match, call: Attributes): CounterName {
  const values = Object.fromEntries(rule.budget.per.map((attribute) => [attribute, call[attribute] ?? '']));
  const named = { key: claim.counter, metric: claim.metric, values: valueKey === OTHER_VALUES ? null : values };
  return { ...named, startsAtMs: span?.startsAtMs ?? null, endsAtMs: span?.endsAtMs ?? null };
}

export interface SimulatedCrossing {
  readonly percent: number;
  readonly action: Threshold['action'];
  readonly atMs: number;
}

export interface SimulatedCounter extends CounterName {
  readonly limit: bigint;
  /** The most that was booked at once: of a calendar period its end. Running calls are not in it. */
  readonly used: bigint;
  readonly blockedCalls: number;
  readonly firstBlockedAtMs: number | null;
  /** The first time each threshold was reached, by what was booked. */
  readonly crossings: readonly SimulatedCrossing[];
}

export interface BlockedCall {
  readonly callId: string | null;
  readonly holdId: string | null;
  /** Of the first event that tells what it cost. */
  readonly eventId: string | null;
  readonly atMs: number;
  readonly reason: ReasonCode;
  /** Null: no limit of the draft refused it by itself. */
  readonly counter: CounterName | null;
  readonly limit: bigint;
  readonly used: bigint;
  readonly held: bigint;
  /** What it asked for of that counter. */
  readonly asked: bigint;
  readonly costNano: Nano;
}

type Growing<T> = { -readonly [key in keyof T]: T[key] };
interface Counter extends Growing<SimulatedCounter> {
  crossings: SimulatedCrossing[];
}

const SMALLEST_LOOK = 4_096;
/** Bookings of a period that is over still come for a while. */
const GRACE_MS = 3_600_000;

export class SimulationTally {
  calls = 0;
  allowed = 0;
  downgraded = 0;
  shortened = 0;
  readonly blockedBy = new Map<ReasonCode, number>();
  /** What the calls cost when they ran. */
  recordedNano: Nano = 0n;
  /** What those cost that would have run, as they would have. */
  spentNano: Nano = 0n;
  blockedNano: Nano = 0n;
  readonly listed: BlockedCall[] = [];
  private readonly byCall = new Map<string, Growing<BlockedCall>>();
  private readonly counters = new Map<string, Counter>();
  private lookAt = SMALLEST_LOOK;

  /** @param most how many blocked calls and how many counters are told by name */
  constructor(
    private readonly thresholds: readonly Threshold[],
    private readonly most: { readonly blocked: number; readonly counters: number },
  ) {}

  get blocked(): number {
    return [...this.blockedBy.values()].reduce((sum, calls) => sum + calls, 0);
  }

  ran(verdict: 'allow' | 'downgrade', isShortened: boolean): void {
    this.calls += 1;
    if (verdict === 'allow') this.allowed += 1;
    else this.downgraded += 1;
    if (isShortened) this.shortened += 1;
  }

  /** @param id by which {@link cost} names the call */
  block(id: string, call: Omit<BlockedCall, 'costNano' | 'eventId'>, nowMs: number): void {
    this.calls += 1;
    this.blockedBy.set(call.reason, (this.blockedBy.get(call.reason) ?? 0) + 1);
    if (call.counter !== null) {
      const counter = this.counterOf(call.counter, call.limit, nowMs);
      counter.blockedCalls += 1;
      counter.firstBlockedAtMs ??= call.atMs;
    }
    if (this.listed.length >= this.most.blocked) return;
    const row = { ...call, eventId: null, costNano: 0n };
    this.listed.push(row);
    this.byCall.set(id, row);
  }

  /** What a blocked call cost when it ran. */
  cost(id: string, eventId: string, recordedNano: Nano): void {
    this.recordedNano += recordedNano;
    this.blockedNano += recordedNano;
    const row = this.byCall.get(id);
    if (row === undefined) return;
    row.costNano += recordedNano;
    row.eventId ??= eventId;
  }

  spend(recordedNano: Nano, simulatedNano: Nano): void {
    this.recordedNano += recordedNano;
    this.spentNano += simulatedNano;
  }

  /** A counter stands at `used` after a booking. */
  stands(name: CounterName, limit: bigint, used: bigint, nowMs: number): void {
    if (name.metric === 'concurrent') return;
    const counter = this.counterOf(name, limit, nowMs);
    if (used > counter.used) counter.used = used;
    if (limit === 0n) return;
    for (const { percent, action } of this.thresholds) {
      if (used < percentOf(limit, percent) || counter.crossings.some((known) => known.percent === percent && known.action === action)) continue;
      counter.crossings.push({ percent, action, atMs: nowMs });
    }
  }

  /** The fullest first, by what was used of their limit. */
  top(): SimulatedCounter[] {
    return [...this.counters.values()].sort(byFullness).slice(0, this.most.counters);
  }

  private counterOf(name: CounterName, limit: bigint, nowMs: number): Counter {
    let counter = this.counters.get(name.key);
    if (!counter) {
      if (this.counters.size >= this.lookAt) this.dropPast(nowMs);
      counter = { ...name, limit, used: 0n, blockedCalls: 0, firstBlockedAtMs: null, crossings: [] };
      this.counters.set(name.key, counter);
    }
    return counter;
  }

  private dropPast(nowMs: number): void {
    const over = [...this.counters.values()].filter(({ endsAtMs }) => endsAtMs !== null && endsAtMs + GRACE_MS <= nowMs);
    for (const { key } of over.sort(byFullness).slice(this.most.counters)) this.counters.delete(key);
    this.lookAt = Math.max(SMALLEST_LOOK, 2 * this.counters.size);
  }
}

function byFullness(left: Counter, right: Counter): number {
  const [a, b] = [left.used * (right.limit === 0n ? 1n : right.limit), right.used * (left.limit === 0n ? 1n : left.limit)];
  if (a !== b) return a > b ? -1 : 1;
  return right.blockedCalls - left.blockedCalls || (left.key < right.key ? -1 : 1);
}
