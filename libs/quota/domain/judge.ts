/**
 * THE decision: which of the candidates (the requested model, then its ladder) may be taken, judged against the wallet and every limit at
 * once. Pure and the only one there is: every store calls it or is compared with it. All claims of the chosen candidate are taken or none (H4).
 * In this order: the requested model where no downgrade threshold is passed; the ladder's first that fits; the requested model after all,
 * because a threshold below the limit must not block; nothing.
 */
import type { Nano } from '#libs/kernel/index.js';
import { fencedPart, leaseKey, usableOf, type Grant, type Short } from './lease.js';
import { EMPTY_COUNTER, ROLLING_BUCKETS, type Claim, type CounterView } from './limit.js';
import { availableOf, judgeWallet, type Wallet, type WalletRefusal, type WalletRule } from './wallet.js';

export interface Judged {
  readonly amountNano: Nano;
  readonly claims: readonly Claim[];
}

export interface Case {
  /** The requested model first. */
  readonly candidates: readonly [Judged, ...Judged[]];
  readonly rule: WalletRule;
  /** Whether the wallet refuses; claims say it of themselves. */
  readonly enforce: boolean;
  readonly nowMs: number;
  /** Until then a crash may have lost promises: an eighth of every limit counts as held. */
  readonly fencedUntilMs: number;
  /** What the tenant was granted of what all tenants share, by lease; absent: nothing. */
  readonly grants?: ((lease: string) => Grant | undefined) | undefined;
}

/** `global_lease`: it would fit the shared limit for all that is known of this tenant, but what is left is granted to others. */
export type LimitRefusal = 'global_lease' | 'budget_exhausted' | 'rate_limited' | 'concurrency_limited' | 'in_flight_exhausted' | 'too_large';

export interface Refusal {
  readonly code: WalletRefusal | LimitRefusal;
  /** Null: the wallet. */
  readonly claim: Claim | null;
  /** Waiting so long admits the call where no other traffic runs, and one millisecond less does not; a hint where `exact` is false; null: waiting does not help. */
  readonly retryAfterMs: number | null;
  readonly exact: boolean;
}

export type Why = 'ok' | 'threshold_downgrade' | 'budget_downgrade';

export type Choice =
  | { readonly kind: 'taken'; readonly index: number; readonly why: Why; /** What led away from the requested model. */ readonly claim: Claim | null }
  | { readonly kind: 'refused'; readonly refusal: Refusal };

/** What a candidate may have at most; null: no limit. `open` is false when something refuses it that a smaller answer would not change. */
export interface Room {
  readonly open: boolean;
  readonly nano: Nano | null;
  readonly tokens: bigint | null;
}

export interface Judgement {
  readonly choice: Choice;
  /** With every limit enforced, the shadow ones too; the same object where nothing differs. */
  readonly would: Choice;
}

export type ReadCounter = (claim: Claim) => CounterView | undefined;

/** A hint only: how soon a running call ends is anybody's guess. */
export const IN_FLIGHT_RETRY_MS = 1_000;
/** What is promised without a trace on disk stays below this part of a limit, and so much counts as held after a crash. */
export const UNRECORDED_PART = 8n;

export function judge(input: Case, wallet: Wallet, read: ReadCounter): Judgement {
  const choice = choose(input, wallet, read, input.enforce ? ENFORCED : ENFORCED_LIMITS);
  const shadows = !input.enforce || input.candidates.some(({ claims }) => claims.some((claim) => !claim.enforced && !claim.silent));
  return { choice, would: shadows ? choose(input, wallet, read, EVERYTHING) : choice };
}

const isEnforced = (claim: Claim): boolean => claim.enforced && !claim.silent;
const ENFORCED: Level = { counts: isEnforced, wallet: true };
const ENFORCED_LIMITS: Level = { counts: isEnforced, wallet: false };
const EVERYTHING: Level = { counts: (claim) => !claim.silent, wallet: true };

/** What a candidate may still have of money and tokens, by what is enforced. */
export function roomOf(candidate: Judged, input: Case, wallet: Wallet, read: ReadCounter): Room {
  let nano = input.enforce ? availableOf(wallet, input.rule) : null;
  let tokens: bigint | null = null;
  let open = true;
  for (const claim of candidate.claims) {
    if (!claim.enforced || claim.silent || claim.blockAt === null) continue;
    const { used, held } = read(claim) ?? EMPTY_COUNTER;
    const left = reachOf(claim, claim.blockAt, claim.lease?.block, input) - used - held;
    if (claim.metric === 'usd') nano = smaller(nano, left);
    else if (claim.metric === 'tokens') tokens = smaller(tokens, left);
    else if (claim.amount > left) open = false;
  }
  return { open, nano, tokens };
}

function smaller(known: bigint | null, next: bigint): bigint {
  return known === null || next < known ? next : known;
}

interface Level {
  readonly counts: (claim: Claim) => boolean;
  readonly wallet: boolean;
}

function choose(input: Case, wallet: Wallet, read: ReadCounter, level: Level): Choice {
  const [asked, ...ladder] = input.candidates;
  const refused = refusalOf(asked, input, wallet, read, level);
  const passed = refused === null ? passedThreshold(asked, input, read, level) : null;
  if (refused === null && passed === null) return AS_ASKED;
  const step = ladder.findIndex((candidate) => refusalOf(candidate, input, wallet, read, level) === null);
  if (step >= 0) return { kind: 'taken', index: step + 1, why: refused === null ? 'threshold_downgrade' : 'budget_downgrade', claim: refused?.claim ?? passed };
  return refused === null ? AS_ASKED : { kind: 'refused', refusal: refused };
}

const AS_ASKED: Choice = { kind: 'taken', index: 0, why: 'ok', claim: null };

/** Which grants have to be larger before the candidate may be taken, or may be taken without passing a threshold. */
export function shortsOf({ claims }: Judged, input: Case, read: ReadCounter): Short[] {
  return claims.flatMap((claim): Short[] => {
    const { lease, counter, amount, window } = claim;
    if (lease === undefined || lease.isFinal || claim.silent || amount === 0n) return [];
    const { used, held } = read(claim) ?? EMPTY_COUNTER;
    const bounds = [
      { percent: lease.block, at: claim.blockAt },
      { percent: lease.downgrade, at: claim.downgradeAt },
    ];
    return bounds.flatMap(({ percent, at }): Short[] => {
      if (percent === null || at === null || amount > at - used - held) return [];
      const grant = input.grants?.(leaseKey(counter, percent));
      if (amount <= usableOf(grant, input.nowMs, input.fencedUntilMs) - used - held) return [];
      const committed = used + held + fencedPart(grant, input.nowMs, input.fencedUntilMs);
      return [{ lease: leaseKey(counter, percent), counter, committed, amount, endsAtMs: window.kind === 'fixed' ? window.endsAtMs : null }];
    });
  });
}

/** Up to where a claim may go: a shared one whose pool was asked no further than the tenant's grant. */
function reachOf(claim: Claim, at: bigint, percent: number | null | undefined, input: Case): bigint {
  if (claim.lease === undefined) return fencedLimit(at, input);
  if (!claim.lease.isFinal || percent === null || percent === undefined) return at;
  const usable = usableOf(input.grants?.(leaseKey(claim.counter, percent)), input.nowMs, input.fencedUntilMs);
  return usable < at ? usable : at;
}

function passedThreshold({ claims }: Judged, input: Case, read: ReadCounter, level: Level): Claim | null {
  for (const claim of claims) {
    if (claim.downgradeAt === null || claim.amount === 0n || !level.counts(claim)) continue;
    const { used, held } = read(claim) ?? EMPTY_COUNTER;
    const at = claim.lease === undefined ? claim.downgradeAt : reachOf(claim, claim.downgradeAt, claim.lease.downgrade, input);
    if (claim.amount > at - used - held) return claim;
  }
  return null;
}

/** Of several refusals the one that lasts longest is told: waiting for it, the others are over too. */
function refusalOf(candidate: Judged, input: Case, wallet: Wallet, read: ReadCounter, level: Level): Refusal | null {
  let worst: Refusal | null = level.wallet ? walletRefusal(wallet, input.rule, candidate.amountNano) : null;
  for (const claim of candidate.claims) {
    if (claim.blockAt === null || claim.amount === 0n || !level.counts(claim)) continue;
    const refusal = claimRefusal(claim, claim.blockAt, read(claim) ?? EMPTY_COUNTER, input);
    if (refusal !== null && (worst === null || lastsLonger(refusal, worst))) worst = refusal;
  }
  return worst;
}

function lastsLonger(left: Refusal, right: Refusal): boolean {
  if (left.retryAfterMs === null || right.retryAfterMs === null) return left.retryAfterMs === null && right.retryAfterMs !== null;
  if (left.exact !== right.exact) return left.exact;
  return left.retryAfterMs > right.retryAfterMs;
}

function walletRefusal(wallet: Wallet, rule: WalletRule, amountNano: Nano): Refusal | null {
  const verdict = judgeWallet(wallet, rule, amountNano);
  if (verdict.fits) return null;
  return { code: verdict.code, claim: null, retryAfterMs: verdict.code === 'in_flight_exhausted' ? IN_FLIGHT_RETRY_MS : null, exact: false };
}

function fencedLimit(blockAt: bigint, input: Pick<Case, 'nowMs' | 'fencedUntilMs'>): bigint {
  return input.nowMs < input.fencedUntilMs ? blockAt - blockAt / UNRECORDED_PART : blockAt;
}

function claimRefusal(claim: Claim, blockAt: bigint, view: CounterView, input: Case): Refusal | null {
  // What a crash may have lost of a shared limit is fenced in the grant.
  const fenced = claim.lease === undefined ? fencedLimit(blockAt, input) : blockAt;
  if (claim.amount <= fenced - view.used - view.held) {
    if (claim.lease === undefined || claim.amount <= reachOf(claim, blockAt, claim.lease.block, input) - view.used - view.held) return null;
    return { code: 'global_lease', claim, retryAfterMs: IN_FLIGHT_RETRY_MS, exact: false };
  }
  if (claim.amount > blockAt) return { code: neverFits(claim, blockAt), claim, retryAfterMs: null, exact: false };
  if (claim.window.kind === 'concurrent') return { code: 'concurrency_limited', claim, retryAfterMs: IN_FLIGHT_RETRY_MS, exact: false };
  const retryAfterMs = exactRetry(claim, blockAt, fenced, view, input);
  if (claim.rate) return { code: 'rate_limited', claim, retryAfterMs, exact: retryAfterMs !== null };
  const inFlight = claim.amount <= fenced - view.used;
  if (!inFlight) return { code: 'budget_exhausted', claim, retryAfterMs, exact: retryAfterMs !== null };
  const soon = retryAfterMs !== null && retryAfterMs < IN_FLIGHT_RETRY_MS;
  return { code: 'in_flight_exhausted', claim, retryAfterMs: soon ? retryAfterMs : IN_FLIGHT_RETRY_MS, exact: soon };
}

/** A limit of nothing is used up; one that is smaller than the call is not. */
function neverFits({ metric, rate }: Claim, blockAt: bigint): LimitRefusal {
  if (metric === 'concurrent') return 'concurrency_limited';
  if (blockAt > 0n && metric !== 'requests') return 'too_large';
  return rate ? 'rate_limited' : 'budget_exhausted';
}

/** When the call fits if nothing else happens: at the end of the fence, of the period, or when enough of the oldest sub-buckets have left. */
function exactRetry(claim: Claim, blockAt: bigint, fenced: bigint, view: CounterView, { nowMs, fencedUntilMs }: Case): number | null {
  const fencedWait = waitFor(claim, fenced, view, nowMs);
  if (fenced === blockAt) return fencedWait;
  const wait = waitFor(claim, blockAt, view, nowMs);
  const afterFence = wait === null ? null : Math.max(wait, fencedUntilMs - nowMs);
  if (fencedWait === null || afterFence === null) return fencedWait ?? afterFence;
  return Math.min(fencedWait, afterFence);
}

function waitFor(claim: Claim, limit: bigint, view: CounterView, nowMs: number): number | null {
  const { window } = claim;
  let excess = claim.amount - (limit - view.used - view.held);
  if (excess <= 0n) return 0;
  if (claim.amount > limit) return null;
  if (window.kind === 'concurrent') return IN_FLIGHT_RETRY_MS;
  if (window.kind === 'fixed') return window.endsAtMs === null ? null : window.endsAtMs - nowMs;
  for (const { startsAtMs, amount } of view.buckets) {
    excess -= amount;
    if (excess <= 0n) return startsAtMs + (ROLLING_BUCKETS + 1) * window.bucketMs - nowMs;
  }
  return null;
}
