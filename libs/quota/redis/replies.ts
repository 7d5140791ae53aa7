/** What the scripts answer, in the port's words. They answer nested lists of text; their headers say in which order. */
import { InvariantError, type Nano } from '#libs/kernel/index.js';
import type { CallFacts, Hold, HoldState, UnresolvedPolicy } from '../domain/hold.js';
import type { Choice, Refusal, Room, Why } from '../domain/judge.js';
import type { Short } from '../domain/lease.js';
import type { Claim, HeldClaim, Metric, Window } from '../domain/limit.js';
import type { LimitView, WalletView } from '../application/quota-store.js';

export type Reply = string | number | null | readonly Reply[];

export function list(reply: Reply | undefined): readonly Reply[] {
  if (!Array.isArray(reply)) throw new InvariantError('a script answered no list');
  return reply as readonly Reply[];
}

export function text(reply: Reply | undefined): string {
  if (typeof reply === 'string') return reply;
  if (typeof reply === 'number') return String(reply);
  throw new InvariantError('a script answered no text');
}

const count = (reply: Reply | undefined): number => Number(text(reply));
const exact = (reply: Reply | undefined): bigint => BigInt(text(reply));
const orNull = (reply: Reply | undefined): string | null => (text(reply) === '' ? null : text(reply));

const METRIC_OF: Readonly<Record<string, Metric>> = { u: 'usd', t: 'tokens', r: 'requests', c: 'concurrent' };

export function walletOf(reply: Reply | undefined): WalletView {
  const [seq, posted, held] = list(reply);
  return { seq: exact(seq), postedNano: exact(posted), heldNano: exact(held) };
}

/** What was promised is not kept: it is what the ceiling covers no longer. */
export const promisedOf = (ceiling: Reply | undefined, covered: Reply | undefined): Nano => exact(ceiling) - exact(covered);

export function viewsOf(claims: readonly Claim[], reply: Reply | undefined): LimitView[] {
  const told = list(reply);
  return claims.map((claim, index) => ({ claim, used: exact(told[2 * index]), held: exact(told[2 * index + 1]) }));
}

/** Claims are numbered from 1 in what was asked; 0 is the wallet. */
const claimAt = (claims: readonly Claim[], reply: Reply | undefined): Claim | null => claims[count(reply) - 1] ?? null;

export function refusalOf(claims: readonly Claim[], reply: Reply | undefined): Refusal {
  const [code, claim, retry, isExact] = list(reply);
  return {
    code: text(code) as Refusal['code'],
    claim: claimAt(claims, claim),
    retryAfterMs: text(retry) === '' ? null : count(retry),
    exact: count(isExact) === 1,
  };
}

export function wouldOf(claims: readonly Claim[], reply: Reply | undefined): Choice | null {
  if (reply === '') return null;
  const [kind, first, why, claim] = list(reply);
  if (kind === 'refused') return { kind: 'refused', refusal: refusalOf(claims, first) };
  return { kind: 'taken', index: count(first), why: text(why) as Why, claim: claimAt(claims, claim) };
}

export function takenOf(claims: readonly Claim[], [index, why, claim]: readonly Reply[]): { index: number; why: Why; claim: Claim | null } {
  return { index: count(index), why: text(why) as Why, claim: claimAt(claims, claim) };
}

export function roomsOf(reply: Reply | undefined): Room[] {
  return list(reply).map((room) => {
    const [open, nano, tokens] = list(room);
    const limitOf = (value: Reply | undefined): bigint | null => (text(value) === '' ? null : exact(value));
    return { open: count(open) === 1, nano: limitOf(nano), tokens: limitOf(tokens) };
  });
}

export function shortsOf(reply: Reply | undefined): Short[] {
  return list(reply).map((short) => {
    const [lease, counter, committed, amount, end] = list(short);
    return { lease: text(lease), counter: text(counter), committed: exact(committed), amount: exact(amount), endsAtMs: count(end) < 0 ? null : count(end) };
  });
}

function windowOf(kind: Reply | undefined, parameter: Reply | undefined): Window {
  const value = count(parameter);
  if (kind === 'r') return { kind: 'rolling', bucketMs: value };
  if (kind === 'c') return { kind: 'concurrent', ttlMs: value };
  return { kind: 'fixed', endsAtMs: value < 0 ? null : value };
}

function heldClaimOf(reply: Reply): HeldClaim {
  const [counter, metric, kind, parameter, amount] = list(reply);
  return { counter: text(counter), metric: METRIC_OF[text(metric)] ?? 'usd', window: windowOf(kind, parameter), amount: exact(amount) };
}

type FactValues = [
  string | null,
  string | null,
  string | null,
  string | null,
  number,
  number,
  string | null,
  string | null,
  string,
  string | null,
  string | null,
  string | null,
  string | null,
  string | null,
  CallFacts['tags'],
  string | null,
  /** Absent where an older program wrote it. */
  CallFacts['terms'] | undefined,
];

function factsOf(reply: Reply | undefined): CallFacts | null {
  if (text(reply) === '') return null;
  const values = JSON.parse(text(reply)) as FactValues;
  const [callId, provider, model, requestedModel, inputTokens, maxOutputTokens, userId, feature, environment] = values;
  const [assistantId, threadId, apiKeyId, requestId, priceVersion, tags, sourceId, terms] = values.slice(9) as [
    FactValues[9],
    FactValues[10],
    FactValues[11],
    FactValues[12],
    FactValues[13],
    FactValues[14],
    FactValues[15],
    FactValues[16],
  ];
  return {
    callId,
    provider,
    model,
    requestedModel,
    inputTokens,
    maxOutputTokens,
    userId,
    feature,
    environment,
    assistantId,
    threadId,
    apiKeyId,
    requestId,
    priceVersion,
    tags,
    sourceId,
    terms: terms ?? [],
  };
}

export function holdOf(tenantId: string, reply: Reply | undefined): Hold {
  const [id, state, resolution, amount, captured, tokens, requests, policy, kind, created, expires, resolved, digest, body, facts, claims] = list(reply);
  return {
    holdId: text(id),
    tenantId,
    kind: text(kind) as Hold['kind'],
    state: text(state) as HoldState,
    resolution: orNull(resolution),
    amountNano: exact(amount),
    capturedNano: exact(captured),
    capturedTokens: exact(tokens),
    capturedRequests: exact(requests),
    claims: list(claims).map(heldClaimOf),
    callDigest: orNull(digest),
    bodyHash: orNull(body),
    policy: text(policy) as UnresolvedPolicy,
    createdAtMs: count(created),
    expiresAtMs: count(expires),
    resolvedAtMs: count(resolved) < 0 ? null : count(resolved),
    facts: factsOf(facts),
  };
}

export interface Figures extends WalletView {
  readonly promisedNano: Nano;
  readonly ceilingNano: Nano;
  readonly unrecordedNano: Nano;
}

export function figuresOf(reply: Reply | undefined): Figures {
  const [seq, posted, held, covered, ceiling, unrecorded] = list(reply);
  return {
    ...walletOf([seq ?? null, posted ?? null, held ?? null]),
    promisedNano: promisedOf(ceiling, covered),
    ceilingNano: exact(ceiling),
    unrecordedNano: exact(unrecorded),
  };
}
