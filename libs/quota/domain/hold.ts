/**
 * A hold is money promised to one call. It leaves `active` exactly once (H3): settled by a booked event or an explicit settle, released,
 * or unresolved when its time ran out without either. What events take from it adds up; the call is over on a success or a client's
 * abort, never on a failed attempt. Pure: transitions return a new hold or say why not.
 */
import type { Nano } from '#libs/kernel/index.js';
import type { Attributes } from './budget.js';
import type { HeldClaim } from './limit.js';

export const HOLD_STATES = ['active', 'settled', 'released', 'unresolved'] as const;
export type HoldState = (typeof HOLD_STATES)[number];

/** What an unresolved hold costs until a late event says better. */
export const UNRESOLVED_POLICIES = ['charge_input', 'charge_estimate', 'charge_hold', 'release'] as const;
export type UnresolvedPolicy = (typeof UNRESOLVED_POLICIES)[number];

/**
 * What the caller said about the question itself: it comes from a call that thresholds may spare (`critical`), who asked can only swap the model
 * at its provider (`same_provider`) or nothing at all (`as_asked`), the answer cannot be shortened (`fixed_length`).
 */
export const ASK_TERMS = ['critical', 'same_provider', 'as_asked', 'fixed_length'] as const;
export type AskTerm = (typeof ASK_TERMS)[number];

/** What the caller told about the call, kept so that an expired hold can be charged and explained, and a draft budget asked the same. */
export interface CallFacts {
  readonly callId: string | null;
  readonly provider: string | null;
  readonly model: string | null;
  readonly requestedModel: string | null;
  readonly inputTokens: number;
  readonly maxOutputTokens: number;
  readonly userId: string | null;
  readonly feature: string | null;
  readonly environment: string;
  readonly assistantId: string | null;
  readonly threadId: string | null;
  readonly apiKeyId: string | null;
  readonly requestId: string | null;
  readonly priceVersion: string | null;
  readonly tags: Readonly<Record<string, string>> | null;
  readonly sourceId: string | null;
  readonly terms: readonly AskTerm[];
}

export interface Hold {
  readonly holdId: string;
  readonly tenantId: string;
  /** `fence` stands for promises a crash may have lost; it belongs to no call and is released by itself. */
  readonly kind: 'call' | 'fence';
  readonly state: HoldState;
  /**
   * How it ended: `event`, `late_event`, `release`, `not_promised`, `expired`, `charged` once an expired one is charged by its policy,
   * `reported_before` where that charge would be a second one of a call that has its report, `not_chargeable` where the inbox refuses it.
   */
  readonly resolution: string | null;
  readonly amountNano: Nano;
  /** Sum of the charges of booked events; may exceed the amount (estimate overrun). */
  readonly capturedNano: Nano;
  /** Sums of the tokens and finished calls of booked events. */
  readonly capturedTokens: bigint;
  readonly capturedRequests: bigint;
  /** What it keeps of limits; those of its own time, whenever it ends (H8). */
  readonly claims: readonly HeldClaim[];
  /** Hex of the 128-bit digest of (tenant, call id). */
  readonly callDigest: string | null;
  /** Hex of the digest of the authorize body. */
  readonly bodyHash: string | null;
  readonly policy: UnresolvedPolicy;
  readonly createdAtMs: number;
  readonly expiresAtMs: number;
  readonly resolvedAtMs: number | null;
  readonly facts: CallFacts | null;
}

/** What the hold still keeps from being promised again. An unresolved one keeps its money until its policy's charge is booked. */
export function heldBy(hold: Pick<Hold, 'state' | 'amountNano' | 'capturedNano' | 'policy' | 'resolution'>): Nano {
  const keeps = hold.state === 'active' || isUncharged(hold);
  if (!keeps) return 0n;
  return hold.capturedNano >= hold.amountNano ? 0n : hold.amountNano - hold.capturedNano;
}

/** What the hold still keeps of one of its limits. A running call stops being one when its hold ends, whatever is still to be charged. */
export function claimHeldBy(hold: Hold, claim: HeldClaim): bigint {
  if (claim.metric === 'concurrent') return hold.state === 'active' ? 1n : 0n;
  if (hold.state !== 'active' && !isUncharged(hold)) return 0n;
  const taken = claim.metric === 'usd' ? hold.capturedNano : claim.metric === 'tokens' ? hold.capturedTokens : hold.capturedRequests;
  return taken >= claim.amount ? 0n : claim.amount - taken;
}

/** What a hold says about its call to whoever asks which limits it counts for. */
export function attributesOf(tenantId: string, facts: CallFacts): Attributes {
  return {
    tenant_id: tenantId,
    user_id: facts.userId,
    feature: facts.feature,
    environment: facts.environment,
    assistant_id: facts.assistantId,
    thread_id: facts.threadId,
    request_id: facts.requestId,
    api_key_id: facts.apiKeyId,
    model: facts.model,
    provider: facts.provider,
    source: facts.sourceId,
    tags: facts.tags,
  };
}

/** Whether its time ran out and what its policy charges is not booked yet. */
export function isUncharged(hold: Pick<Hold, 'state' | 'policy' | 'resolution'>): boolean {
  return hold.state === 'unresolved' && hold.policy !== 'release' && hold.resolution === 'expired';
}

/** The charge of its policy is booked: what it kept is spent, and nobody has said yet how the call ended. */
export function chargeHold(hold: Hold): Hold {
  return hold.state === 'unresolved' ? { ...hold, resolution: 'charged' } : hold;
}

/** Whether anybody was told of it: a hold that was taken back unpromised does not answer for its call. */
export function wasPromised(hold: Pick<Hold, 'resolution'>): boolean {
  return hold.resolution !== NOT_PROMISED;
}

export const NOT_PROMISED = 'not_promised';

export type Ending = { readonly to: 'settled' | 'released' | 'unresolved'; readonly resolution: string };

/**
 * Ends a hold. From active to anything; from unresolved only to settled (its late event or its policy's charge) or released.
 * Its call stopped running when it left active, and a repeat is told so from then on: what is learned of an unresolved one later keeps that time,
 * as its row does. Null when it ended before: whoever comes second changes nothing.
 */
export function endHold(hold: Hold, ending: Ending, nowMs: number): Hold | null {
  const open = hold.state === 'active' || (hold.state === 'unresolved' && ending.to !== 'unresolved');
  if (!open) return null;
  return { ...hold, state: ending.to, resolution: ending.resolution, resolvedAtMs: hold.resolvedAtMs ?? nowMs };
}

/** What one booking takes from a hold; negative when a booking is taken back. */
export interface Taken {
  readonly nano: Nano;
  readonly tokens: bigint;
  readonly requests: bigint;
}

/** Books a charge on a hold. `closes` ends the call. A hold that already ended keeps its state and only remembers the sums. */
export function captureHold(hold: Hold, taken: Taken, closes: boolean, nowMs: number): Hold {
  const captured: Hold = {
    ...hold,
    capturedNano: atLeastZero(hold.capturedNano + taken.nano),
    capturedTokens: atLeastZero(hold.capturedTokens + taken.tokens),
    capturedRequests: atLeastZero(hold.capturedRequests + taken.requests),
  };
  return closes ? (endHold(captured, { to: 'settled', resolution: 'event' }, nowMs) ?? captured) : captured;
}

function atLeastZero(value: bigint): bigint {
  return value < 0n ? 0n : value;
}

/** Moves the end of an active hold and raises its amount; null when it is no longer active. Never shortens, never lowers. */
export function extendHold(
  hold: Hold,
  change: { readonly amountNano: Nano; readonly expiresAtMs: number; readonly claims: readonly HeldClaim[]; readonly facts: CallFacts },
): Hold | null {
  if (hold.state !== 'active') return null;
  const wanted = new Map(change.claims.map((claim) => [claim.counter, claim.amount]));
  return {
    ...hold,
    facts: hold.facts === null ? null : change.facts,
    claims: hold.claims.map((claim) => {
      const amount = wanted.get(claim.counter) ?? claim.amount;
      return amount > claim.amount ? { ...claim, amount } : claim;
    }),
    amountNano: change.amountNano > hold.amountNano ? change.amountNano : hold.amountNano,
    expiresAtMs: Math.max(hold.expiresAtMs, change.expiresAtMs),
  };
}
