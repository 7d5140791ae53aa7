/** Calls of one tenant on paper: lived with a budget in force by a store of its own, or without one and then told as the past that a simulation reads. */
import { newUuid, type Nano } from '#libs/kernel/index.js';
import { FixedClock } from '#libs/kernel/testing/fixed-clock.js';
import type { PastSpend, SpendHistory } from '#libs/metering/index.js';
import type { Database, Sql } from '#libs/platform/postgres/database.js';
import type { PriceBook } from '#libs/pricing/index.js';
import type { Tenant, TenantDirectory } from '#libs/tenancy/index.js';
import type { EstimateCall } from '../application/estimate-call.js';
import type { HoldHistory } from '../application/hold-history.js';
import { PlanCandidates } from '../application/plan-candidates.js';
import type { RuleBook } from '../application/rule-book.js';
import { SimulateBudget, type SimulationBounds } from '../application/simulate-budget.js';
import { deltasOf } from '../domain/booked-amounts.js';
import type { Budget } from '../domain/budget.js';
import { attributesOf, type CallFacts, type Hold } from '../domain/hold.js';
import { claimsFor, periodMsOf, ruleOf, RuleSet } from '../domain/match-budgets.js';
import type { Ladders } from '../domain/route.js';
import { MemoryQuotaStore } from '../memory/memory-quota-store.js';
import { FACTS } from './quota-world.js';

const TENANT = 'acme';
export const PAST_START = Date.parse('2026-11-21T20:00:00Z');
const TTL_MS = 15 * 60_000;
/** Nano-USD a token. */
const PRICE: Readonly<Record<string, bigint>> = { big: 4n, small: 1n };
export const LADDER: Ladders = new Map([['big', ['small']]]);

export interface PaperCall {
  readonly id: string;
  readonly user: string;
  readonly atMs: number;
  readonly input: number;
  readonly mostOutput: number;
  readonly output: number;
  /** How it ended, so long after it was asked for. Null: nobody said. */
  readonly end: { readonly kind: 'booked' | 'released'; readonly atMs: number } | null;
  /** Its report names the call only, not the hold. */
  readonly byCallId: boolean;
}

export interface Outcome {
  readonly blocked: readonly { readonly id: string; readonly used: bigint; readonly held: bigint }[];
  readonly downgraded: number;
  readonly spentNano: Nano;
}

export const costOf = (model: string, input: number, output: number): Nano => (PRICE[model] ?? 0n) * BigInt(input + output);

function factsOf(call: PaperCall, model: string): CallFacts {
  const sizes = { inputTokens: call.input, maxOutputTokens: call.mostOutput };
  return { ...FACTS, ...sizes, callId: call.id, provider: 'p', model, requestedModel: 'big', userId: call.user, terms: ['fixed_length'] };
}

/** Lives the calls with the budget in force from `fromMs` on: what was asked before runs and counts. */
export async function enforce(calls: readonly PaperCall[], budget: Budget, fromMs: number): Promise<Outcome> {
  const store = new MemoryQuotaStore();
  const wallet = { seq: 0n, bookedSeq: 0n, postedNano: 0n, promisedNano: 0n, ceilingNano: 0n };
  await store.load([{ tenantId: TENANT, ...wallet, rulesRevision: 0, fencedUntilMs: 0, holds: [], recentCalls: [], counters: [] }], 0);
  const blocked: { id: string; used: bigint; held: bigint }[] = [];
  const models = new Map<string, string>();
  let [downgraded, spentNano, seq] = [0, 0n, 0n];
  const set = new RuleSet([ruleOf(budget, [], [])]);
  const silent = new RuleSet([ruleOf({ ...budget, warming: true }, [], [])]);
  const moments = calls.flatMap((call) => [{ atMs: call.atMs, call, ends: false }, ...(call.end === null ? [] : [{ atMs: call.end.atMs, call, ends: true }])]);
  for (const { atMs, call, ends } of moments.sort((a, b) => a.atMs - b.atMs)) {
    await store.expire(atMs, 1_000);
    const model = models.get(call.id);
    if (!ends) {
      const judged = atMs >= fromMs;
      const candidateOf = (name: string) => {
        const facts = factsOf(call, name);
        const taking = { amountNano: costOf(name, call.input, call.mostOutput), tokens: BigInt(call.input + call.mostOutput), critical: false, enforce: true };
        return { facts, amountNano: taking.amountNano, claims: claimsFor((judged ? set : silent).match(attributesOf(TENANT, facts), atMs), taking) };
      };
      const ask = { tenantId: TENANT, holdId: call.id, rulesRevision: 0, nowMs: atMs, ttlMs: TTL_MS, callDigest: null, bodyHash: null };
      const candidates = judged ? ([candidateOf('big'), candidateOf('small')] as const) : ([candidateOf('big')] as const);
      const result = await store.reserve({ ...ask, candidates, policy: 'release', rule: { creditLimitNano: null }, enforce: true, strict: true });
      if (result.kind === 'held') models.set(call.id, result.index === 0 ? 'big' : 'small');
      if (result.kind === 'held' && result.index > 0) downgraded += 1;
      if (result.kind !== 'refused') continue;
      const line = result.limits.find(({ claim }) => claim.counter === result.refusal.claim?.counter);
      blocked.push({ id: call.id, used: line?.used ?? 0n, held: line?.held ?? 0n });
    } else if (model !== undefined && call.end?.kind === 'released') {
      await store.end({ tenantId: TENANT, holdId: call.id, ending: { to: 'released', resolution: 'release' }, nowMs: atMs });
    } else if (model !== undefined) {
      const nano = costOf(model, call.input, call.output);
      const tokens = BigInt(call.input + call.output);
      if (call.atMs >= fromMs) spentNano += nano;
      const matches = set.match(attributesOf(TENANT, factsOf(call, model)), call.atMs);
      const counters = matches.flatMap((match) => deltasOf({ match, periodMs: periodMsOf(match, call.atMs), nano, tokens, requests: 1n }));
      seq += 1n;
      const capture = { holdId: call.id, callDigest: null, signedNano: nano, signedTokens: tokens, signedRequests: 1n, closes: true, provisional: false };
      await store.applyBooked({ tenantId: TENANT, seq, captures: [capture], counters }, atMs);
    }
  }
  return { blocked, downgraded, spentNano };
}

function holdOf(call: PaperCall): Hold {
  const state = call.end === null ? 'unresolved' : call.end.kind === 'released' ? 'released' : 'settled';
  return {
    holdId: call.id,
    tenantId: TENANT,
    kind: 'call',
    state,
    resolution: null,
    amountNano: costOf('big', call.input, call.mostOutput),
    capturedNano: 0n,
    capturedTokens: 0n,
    capturedRequests: 0n,
    claims: [],
    callDigest: null,
    bodyHash: null,
    policy: 'release',
    createdAtMs: call.atMs,
    expiresAtMs: call.atMs + TTL_MS,
    resolvedAtMs: call.end?.atMs ?? call.atMs + TTL_MS,
    facts: factsOf(call, 'big'),
  };
}

/** What is booked of a call that nothing refused. `occurredAtMs`: by a clock that is not ours. */
export function reportOf(call: PaperCall, occurredAtMs: number, bookedAtMs: number): PastSpend {
  return {
    eventId: newUuid(new Date(bookedAtMs)),
    tenantId: TENANT,
    occurredAt: new Date(occurredAtMs),
    bookedAt: new Date(bookedAtMs),
    status: 'success',
    provider: 'p',
    model: 'big',
    environment: 'prod',
    feature: null,
    userId: call.user,
    assistantId: null,
    threadId: null,
    apiKeyId: null,
    requestId: null,
    tags: null,
    sourceId: 'api',
    requestedModel: 'big',
    callId: call.id,
    holdId: call.byCallId ? null : call.id,
    endsCall: true,
    provisional: false,
    rerated: false,
    usage: { input_tokens: call.input, output_tokens: call.output },
    costNano: 0n,
    chargeNano: costOf('big', call.input, call.output),
  };
}

/** The past of the calls as it is where nothing is enforced; `asked: false` leaves only the reports. */
export function pastOf(calls: readonly PaperCall[], asked = true): { readonly holds: readonly Hold[]; readonly events: readonly PastSpend[] } {
  const events = calls.flatMap((call) => (call.end?.kind === 'booked' ? [reportOf(call, asked ? call.end.atMs : call.atMs, call.end.atMs)] : []));
  events.sort((a, b) => a.occurredAt.getTime() - b.occurredAt.getTime());
  return { holds: asked ? calls.map(holdOf).sort((a, b) => (a.holdId < b.holdId ? -1 : 1)) : [], events };
}

const BOUNDS: SimulationBounds = { maxRows: 10_000, pageSize: 3, deadlineMs: 60_000, atOnce: 2 };

/** The simulation with its past on paper, read three rows at a time. */
export function simulatorOf(
  past: ReturnType<typeof pastOf>,
  input: { timezone: string; now: Date; bounds?: Partial<SimulationBounds>; monotonicNow?: () => number },
): SimulateBudget {
  const database = {
    transaction: async <T>(work: (tx: Sql) => Promise<T>): Promise<T> => await work({ execute: async () => 0 } as unknown as Sql),
  } as Database;
  const holds: HoldHistory = {
    page: async (_tx, { after, fromMs, toMs, limit }) =>
      past.holds.filter((hold) => hold.createdAtMs >= fromMs && hold.createdAtMs < toMs && (after === null || hold.holdId > after)).slice(0, limit),
    downgraded: async () => new Set<string>(),
    refused: async () => 0,
  };
  const spend: SpendHistory = {
    open: async (_tx, { from, to, pageSize }) => {
      const left = past.events.filter(({ occurredAt }) => occurredAt >= from && occurredAt < to);
      return async () => left.splice(0, pageSize);
    },
  };
  const estimate = {
    execute: async ({ model, inputTokens, maxOutputTokens }: { model: string; inputTokens: number; maxOutputTokens: number }) => ({
      ok: true,
      estimate: { costNano: costOf(model, inputTokens, maxOutputTokens), basis: 'given', priceVersion: null, inputTokens, maxOutputTokens },
      provider: 'p',
      model,
    }),
  } as unknown as EstimateCall;
  const prices = {
    rate: ({ model, usage }: { model: string; usage: { input_tokens: number; output_tokens: number } }) => ({
      ok: true,
      chargeNano: costOf(model, usage.input_tokens, usage.output_tokens),
    }),
  } as unknown as PriceBook;
  const tenant = { tenantId: TENANT, timezone: input.timezone, enforcement: 'shadow', rateCardId: null } as unknown as Tenant;
  const tenants = { find: async (tenantId: string) => (tenantId === TENANT ? tenant : null) } as unknown as TenantDirectory;
  const rules = { find: async () => ({ ladder: (model: string) => LADDER.get(model) ?? [] }) } as unknown as RuleBook;
  const tools = { plans: new PlanCandidates(estimate), estimate, prices };
  const bounds = { ...BOUNDS, ...input.bounds };
  return new SimulateBudget(
    database,
    { holds, spend },
    tenants,
    rules,
    tools,
    () => new MemoryQuotaStore(),
    new FixedClock(input.now),
    bounds,
    input.monotonicNow,
  );
}
