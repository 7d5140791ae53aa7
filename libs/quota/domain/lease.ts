/**
 * A budget shared by all tenants, as one tenant sees it: its own counter, bounded by what the tenant was granted of the shared limit. Grants
 * are leased from a pool that never gives out more than the limit, so whatever tenants do at the same moment, what they hold and have used
 * together stays within it. Each percent of the limit at which something happens is a pool of its own over the same counters: what may be
 * used below 80 % is leased apart from what may be used at all, and neither can be passed by all tenants together.
 */
import type { Metric } from './limit.js';

/** What a tenant was granted of one pool, as its store has it. */
export interface Grant {
  readonly granted: bigint;
  /** So much of it may have been promised by a process or a store that was lost: it counts as held until the fence ends. */
  readonly fenced: bigint;
  /** Of two tellings the one with the higher number counts. From one sequence of the database, so no two are ever the same. */
  readonly version: bigint;
}

export interface LeaseGrant extends Grant {
  readonly lease: string;
  /** When nobody asks for it any more; null: never. */
  readonly endsAtMs: number | null;
}

/** A claim that fits the shared limit for all that is known here, and not the tenant's grant. */
export interface Short {
  readonly lease: string;
  readonly counter: string;
  /** What the tenant has used, holds and may have lost. */
  readonly committed: bigint;
  readonly amount: bigint;
  readonly endsAtMs: number | null;
}

/** The name of the lease of a counter at a percent of its limit. */
export function leaseKey(counter: string, percent: number): string {
  return `${counter}@${percent}`;
}

export function counterOfLease(lease: string): string {
  return lease.slice(0, lease.lastIndexOf('@'));
}

export interface LeaseName {
  readonly ruleKey: string;
  readonly valueKey: string;
  /** Null: a rolling window. */
  readonly startsAtMs: number | null;
  readonly metric: Metric;
  readonly percent: number;
}

/** The parts of a name made by {@link leaseKey} of a counter's name (match-budgets.ts): none of them contains a dot or an at sign. */
export function parseLease(lease: string): LeaseName | null {
  const found = /^([^.]+)\.([^.]+)\.(r|-?\d+)\.(usd|tokens|requests|concurrent)@(\d+)$/.exec(lease);
  if (!found) return null;
  const [, ruleKey = '', valueKey = '', start = '', metric = '', percent = ''] = found;
  return { ruleKey, valueKey, startsAtMs: start === 'r' ? null : Number(start), metric: metric as Metric, percent: Number(percent) };
}

/** What of a grant may be used now. */
export function usableOf(grant: Grant | undefined, nowMs: number, fencedUntilMs: number): bigint {
  if (grant === undefined) return 0n;
  return grant.granted - fencedPart(grant, nowMs, fencedUntilMs);
}

export function fencedPart(grant: Pick<Grant, 'fenced'> | undefined, nowMs: number, fencedUntilMs: number): bigint {
  return grant === undefined || nowMs >= fencedUntilMs ? 0n : grant.fenced;
}

/** What a store lowers a grant to: by what lies unused, and by no more than `atMost` (null: all of it). */
export function loweredGrant(grant: Grant, committed: bigint, fenced: bigint, atMost: bigint | null): bigint {
  const slack = grant.granted - committed - fenced;
  if (slack <= 0n) return grant.granted;
  return grant.granted - (atMost !== null && atMost < slack ? atMost : slack);
}

/** What is given ahead of need is at most this part of what is left, divided by those that hold some of it. */
const SHARES = 4n;
/** Ahead of need for fewer calls than this is not worth what it keeps from others: then a tenant gets what its calls need, and nothing more. */
const CALLS_AHEAD = 4n;

export interface Pool {
  readonly limit: bigint;
  /** The sum of all grants. More than the limit where calls cost more than they held, or were booked without asking. */
  readonly granted: bigint;
  /** Tenants that hold some of it. */
  readonly holders: bigint;
}

export interface LeaseAsk {
  /** What the tenant has used, holds and may have lost: below this a grant is worth nothing. */
  readonly committed: bigint;
  /** What the calls that wait for it take, each; none where it is asked ahead of need. */
  readonly amounts: readonly bigint[];
  /** What a call takes. */
  readonly unit: bigint;
  /** What would spare the tenant from asking again for a while. */
  readonly wanted: bigint;
}

/**
 * What a tenant's grant becomes, or null where the pool cannot cover the smallest of the calls that wait. The calls that wait get what they
 * need while there is any; beyond that a tenant gets what it wants up to its part of a quarter of what is left, so that one that asks first
 * does not take everything from those that ask next. Of a pool that has given out more than its limit nobody gets or keeps anything by asking.
 */
export function grantFrom(pool: Pool, granted: bigint, ask: LeaseAsk): bigint | null {
  const room = pool.limit - pool.granted;
  if (room < 0n) return null;
  const slack = granted - ask.committed;
  const needed = ask.amounts.length === 0 ? 0n : fitting(ask.amounts, room + slack);
  if (needed === null) return null;
  const more = max(aheadOf(pool, room, granted, ask), needed) - slack;
  if (more <= 0n) return granted;
  return granted + (more < room ? more : room);
}

function aheadOf(pool: Pool, room: bigint, granted: bigint, ask: LeaseAsk): bigint {
  const holders = max(pool.holders + (granted > 0n ? 0n : 1n), 1n);
  const share = room / (SHARES * holders);
  const ahead = ask.wanted < share ? ask.wanted : share;
  return ahead < ask.unit * CALLS_AHEAD ? 0n : ahead;
}

function max(left: bigint, right: bigint): bigint {
  return left > right ? left : right;
}

/** The sum of the smallest amounts that fit together; null where none does. */
function fitting(amounts: readonly bigint[], room: bigint): bigint | null {
  let sum: bigint | null = null;
  for (const amount of amounts.toSorted((a, b) => (a < b ? -1 : a > b ? 1 : 0))) {
    if ((sum ?? 0n) + amount > room) break;
    sum = (sum ?? 0n) + amount;
  }
  return sum;
}
