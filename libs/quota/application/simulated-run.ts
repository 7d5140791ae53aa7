/**
 * One draft budget over one past, in a store of its own: the same matcher, the same candidates, the same decision and the same bookkeeping of
 * holds as when it is enforced. What would have been blocked spends nothing, so that later calls may pass; what would have run on another model
 * or with a shorter answer is rated as that. The draft judges alone: neither the balance nor other budgets count.
 */
import { timeOfUuid, type Nano } from '#libs/kernel/index.js';
import type { PastSpend } from '#libs/metering/index.js';
import type { PriceBook } from '#libs/pricing/index.js';
import type { Tenant } from '#libs/tenancy/index.js';
import { deltasOf } from '../domain/booked-amounts.js';
import type { Budget } from '../domain/budget.js';
import type { Decision } from '../domain/decision.js';
import { attributesOf, type CallFacts, type Hold } from '../domain/hold.js';
import { ALL_VALUES, claimsFor, MAX_COUNTERS, OTHER_VALUES, periodMsOf, ruleOf, RuleSet, slotKey, slotMsOf, type Match } from '../domain/match-budgets.js';
import { ownPlace, type Placement } from '../domain/placement.js';
import { counterName, type SimulationTally } from '../domain/simulation.js';
import { endsItsHold, isRequest, tokensOf } from '../domain/usage-amounts.js';
import { askStore, type Asked } from './ask-store.js';
import type { EstimateCall } from './estimate-call.js';
import { asRun, inputOf, questionOfReport, runsTheSame, shortened, shortenedTo, type Estimated, type PastQuestion } from './past-question.js';
import type { PastStep } from './past-steps.js';
import type { Option, Options, PlanCandidates, PlanInput } from './plan-candidates.js';
import { NO_TERMS } from './recognise-key.js';
import type { QuotaStore, ReserveResult } from './quota-store.js';
import type { TenantRules } from './rule-book.js';
import { toDecision } from './tell-decision.js';

export interface SimulatedRunSetup {
  /** As if it enforced. */
  readonly tenant: Tenant;
  readonly budget: Budget;
  readonly ladder: TenantRules['ladder'];
  /** From then on calls are judged; what was before only counts. */
  readonly fromMs: number;
  /** What was asked for before that is not known, and counts for no period that matters. */
  readonly knownFromMs: number;
  /** Holds whose answer named another model than the one asked for. */
  readonly downgraded: ReadonlySet<string>;
}

export interface SimulationTools {
  readonly store: QuotaStore;
  readonly plans: PlanCandidates;
  readonly estimate: EstimateCall;
  readonly prices: PriceBook;
}

interface Instead {
  readonly option: Option;
  /** Null: not shorter than it was asked for. One that was longer than that when it ran stays so. */
  readonly shortenedTo: number | null;
}

/** What became of a call in the simulation, for when its bookings come. */
interface Fate {
  readonly verdict: 'before' | 'allow' | 'downgrade' | 'block';
  /** False: it spends nothing. */
  readonly runs: boolean;
  /** What runs instead of what ran; null: the same. */
  readonly instead: Instead | null;
  /** Whether nothing was said about its cost yet. */
  readonly waits: boolean;
}

// Most calls run as they ran: they share one object.
const BEFORE: Fate = { verdict: 'before', runs: true, instead: null, waits: false };
const ALLOWED: Fate = { verdict: 'allow', runs: true, instead: null, waits: true };
const ALLOWED_AND_OVER: Fate = { ...ALLOWED, waits: false };
const UNLIMITED = { creditLimitNano: null } as const;
const EXPIRE_ROUND = 1_000;
/** Of one budget: the running period, the one before, and those that late bookings still name. */
const SLOTS_KEPT = 8;

export class SimulatedRun {
  nowMs = 0;
  /** Calls for which no question is recorded: judged when they occurred, by what they cost. */
  reportedOnly = 0;
  /** Calls that would have cost something else, and whose report does not tell enough to say what. */
  assumed = 0;
  private seq = 0n;
  private readonly fates = new Map<string, Fate>();
  /** By slot, the values that have a counter of their own; those of full ones the matcher looks at. */
  private readonly slots = new Map<string, Set<string>>();
  private readonly full = new Map<string, Set<string>>();
  private readonly counting: RuleSet;
  private readonly judging: RuleSet;

  constructor(
    private readonly tools: SimulationTools,
    private readonly setup: SimulatedRunSetup,
    private readonly tally: SimulationTally,
  ) {
    this.judging = new RuleSet([ruleOf({ ...setup.budget, warming: false }, [], [])], this.full);
    // As a budget that is warming: it counts and refuses nothing.
    this.counting = new RuleSet([ruleOf({ ...setup.budget, warming: true }, [], [])], this.full);
  }

  async begin(): Promise<void> {
    const { tenantId } = this.setup.tenant;
    const nothing = { seq: 0n, bookedSeq: 0n, postedNano: 0n, promisedNano: 0n, ceilingNano: 0n, rulesRevision: 0, fencedUntilMs: 0 };
    await this.tools.store.load([{ tenantId, ...nothing, holds: [], recentCalls: [], counters: [] }], 0);
  }

  /** Steps in the order of their time. */
  async take(step: PastStep): Promise<void> {
    if (step.atMs > this.nowMs) {
      this.nowMs = step.atMs;
      while ((await this.tools.store.expire(this.nowMs, EXPIRE_ROUND)).length === EXPIRE_ROUND);
    }
    if (step.kind === 'ask') await this.ask(step.hold);
    else if (step.kind === 'release') await this.release(step.hold.holdId);
    else if (step.kind === 'book') await this.book(step.event, step.holdId, null);
    else await this.report(step.event);
  }

  /** Calls whose cost nobody told: what they held counted until it ran out, and they are in no sum of dollars. */
  get unreported(): number {
    let calls = 0;
    for (const fate of this.fates.values()) if (fate.waits) calls += 1;
    return calls;
  }

  private async ask(hold: Hold): Promise<void> {
    const { facts } = hold;
    if (facts === null) return;
    const estimated = await this.askedOf(hold, facts);
    const input = inputOf(hold.tenantId, facts, estimated.estimate.costNano);
    const { createdAtMs: atMs, expiresAtMs, policy, holdId } = hold;
    await this.decide(holdId, { input, estimated, ran: { facts, amountNano: hold.amountNano }, atMs, ttlMs: expiresAtMs - atMs, policy, holdId });
  }

  /** What was asked for: what the hold keeps, unless a cheaper model was the answer. */
  private async askedOf(hold: Hold, facts: CallFacts): Promise<Estimated> {
    const { inputTokens, maxOutputTokens, priceVersion } = facts;
    if (this.setup.downgraded.has(hold.holdId)) {
      const { provider, requestedModel: model, feature } = facts;
      const input = { model, feature, sourceId: facts.sourceId ?? '', inputTokens, maxOutputTokens, estimatedCostNano: null };
      for (const named of [provider, null]) {
        const outcome = await this.tools.estimate.execute({ ...input, provider: named }, this.setup.tenant, new Date(hold.createdAtMs));
        if (outcome.ok) return outcome;
      }
    }
    const estimate = { costNano: hold.amountNano, basis: 'given', priceVersion, inputTokens, maxOutputTokens } as const;
    return { ok: true, estimate, provider: facts.provider, model: facts.model };
  }

  /** A call that nobody asked for is asked for as it turned out, and reported at once. */
  private async report(event: PastSpend): Promise<void> {
    const place = ownPlace(event);
    if (place.atMs < this.setup.knownFromMs && event.holdId !== null) return;
    const isCall = isRequest(event) || event.chargeNano > 0n;
    if (place.atMs < this.setup.fromMs || !isCall) {
      await this.book(event, event.eventId, place);
      return;
    }
    this.reportedOnly += 1;
    await this.decide(event.eventId, questionOfReport(event, place.atMs));
    await this.book(event, event.eventId, null);
    await this.release(event.eventId);
  }

  private async decide(id: string, question: PastQuestion): Promise<void> {
    const { tenant, fromMs } = this.setup;
    const judged = question.atMs >= fromMs;
    const set = judged ? this.judging : this.counting;
    const ladder: TenantRules['ladder'] = judged ? this.setup.ladder : () => [];
    // Before, it ran as it ran.
    const estimated = judged ? question.estimated : asRun(question);
    const rules = { revision: 0, set, hasBudgets: true, ladder };
    const plan: PlanInput = { input: question.input, tenant, rules, estimated, now: new Date(question.atMs), terms: NO_TERMS };
    const asked = await askStore(this.tools.plans, plan, async (options) => await this.reserve(id, question, options));
    if (!judged) {
      this.fates.set(id, BEFORE);
      return;
    }
    const decision = toDecision(asked.result, { options: asked.options, rule: UNLIMITED, enforce: true });
    const fate = this.fateOf(question, asked, decision);
    this.fates.set(id, fate);
    if (fate.verdict === 'block') this.tellBlocked(id, question, asked, decision);
    else this.tally.ran(fate.verdict === 'downgrade' ? 'downgrade' : 'allow', (fate.instead?.shortenedTo ?? null) !== null);
  }

  private async reserve(id: string, { ttlMs, policy }: PastQuestion, [first, ...others]: Options): Promise<ReserveResult> {
    return await this.tools.store.reserve({
      tenantId: this.setup.tenant.tenantId,
      holdId: id,
      candidates: [first.candidate, ...others.map(({ candidate }) => candidate)],
      rulesRevision: 0,
      nowMs: this.nowMs,
      ttlMs,
      callDigest: null,
      bodyHash: null,
      policy,
      rule: UNLIMITED,
      enforce: true,
      strict: true,
    });
  }

  private fateOf(question: PastQuestion, { result, options }: Asked, decision: Decision): Fate {
    const verdict = decision.would ?? decision.verdict;
    if (result.kind !== 'held') return { verdict, runs: false, instead: null, waits: true };
    // In shadow every call runs as it ran.
    const taken = this.setup.budget.enforcement === 'enforce' ? options[result.index] : undefined;
    const instead = taken === undefined || runsTheSame(taken, question) ? null : { option: taken, shortenedTo: shortenedTo(taken, question) };
    return verdict === 'allow' && instead === null ? ALLOWED : { verdict, runs: true, instead, waits: true };
  }

  private tellBlocked(id: string, { input, atMs, holdId }: PastQuestion, { result, options }: Asked, decision: Decision): void {
    const shadow = result.kind === 'held' && result.would?.kind === 'refused' ? result.would.refusal.claim : null;
    const claim = result.kind === 'refused' ? result.refusal.claim : shadow;
    const line = decision.limits.find((candidate) => candidate.claim.counter === claim?.counter);
    const call = attributesOf(this.setup.tenant.tenantId, options[0].candidate.facts);
    const match = claim === null ? undefined : this.judging.match(call, atMs)[0];
    this.tally.block(
      id,
      {
        callId: input.callId,
        holdId,
        atMs,
        reason: decision.reason.code,
        counter: claim === null || match === undefined ? null : counterName(claim, match, call),
        limit: claim?.limit ?? 0n,
        used: line?.used ?? 0n,
        // What a store tells of a call that it took has the call in it.
        held: (line?.held ?? 0n) - (result.kind === 'held' ? (claim?.amount ?? 0n) : 0n),
        asked: claim?.amount ?? 0n,
      },
      this.nowMs,
    );
  }

  private async release(id: string): Promise<void> {
    const ending = { to: 'released', resolution: 'release' } as const;
    await this.tools.store.end({ tenantId: this.setup.tenant.tenantId, holdId: id, ending, nowMs: this.nowMs });
    const fate = this.fates.get(id);
    if (fate?.waits === true) this.fates.set(id, fate === ALLOWED ? ALLOWED_AND_OVER : { ...fate, waits: false });
  }

  /** @param place where it counts; null: where its hold was asked */
  private async book(event: PastSpend, id: string, place: Placement | null): Promise<void> {
    const fate = this.fates.get(id) ?? BEFORE;
    if (fate.waits) this.fates.set(id, fate === ALLOWED ? ALLOWED_AND_OVER : { ...fate, waits: false });
    if (fate.verdict === 'block') this.tally.cost(id, event.eventId, event.chargeNano);
    if (!fate.runs) return;
    const spent = this.spentBy(event, fate.instead);
    if (fate.verdict === 'allow' || fate.verdict === 'downgrade') this.tally.spend(event.chargeNano, spent.nano);
    await this.count(event, spent, id, place ?? (await this.placeOf(event, id)));
  }

  private async placeOf(event: PastSpend, id: string): Promise<Placement> {
    const own = ownPlace(event);
    const hold = await this.tools.store.locate(id);
    if (hold === null || hold.facts === null) return event.holdId === null && id !== event.eventId ? { ...own, atMs: timeOfUuid(id).getTime() } : own;
    const call = attributesOf(hold.tenantId, hold.facts);
    // Its hold is known by when it was asked; a report without a question counts when it occurred.
    return { atMs: id === event.eventId ? own.atMs : hold.createdAtMs, call: { ...call, source: call.source ?? event.sourceId } };
  }

  private async count(event: PastSpend, spent: { readonly nano: Nano; readonly tokens: bigint }, id: string, place: Placement): Promise<void> {
    const { tenantId } = this.setup.tenant;
    const requests = isRequest(event) ? 1n : 0n;
    const matches = this.judging.match(place.call, place.atMs);
    const amounts = { nano: spent.nano, tokens: spent.tokens, requests };
    const counters = matches.flatMap((match) => deltasOf({ match, periodMs: periodMsOf(match, place.atMs), ...amounts }));
    for (const match of matches) this.remember(match, place.atMs);
    this.seq += 1n;
    const capture = { holdId: id, callDigest: null, signedNano: spent.nano, signedTokens: spent.tokens, signedRequests: requests };
    const captures = [{ ...capture, closes: endsItsHold(event), provisional: event.provisional }];
    await this.tools.store.applyBooked({ tenantId, seq: this.seq, captures, counters }, this.nowMs);
    const claims = claimsFor(matches, { amountNano: 0n, tokens: 0n, critical: false, enforce: true });
    const views = (await this.tools.store.limits({ tenantId, claims, rulesRevision: 0, nowMs: this.nowMs })) ?? [];
    const [match] = matches;
    if (match === undefined) return;
    for (const { claim, used } of views) this.tally.stands(counterName(claim, match, place.call), claim.limit, used, this.nowMs);
  }

  /** Values beyond the first 10,000 of a period share one counter, as where the budget is enforced. */
  private remember({ rule, valueKey, span }: Match, atMs: number): void {
    if (valueKey === ALL_VALUES || valueKey === OTHER_VALUES) return;
    const key = slotKey(rule.key, slotMsOf(rule.budget, span, atMs));
    let values = this.slots.get(key);
    if (values === undefined) {
      this.slots.set(key, (values = new Set()));
      const oldest = this.slots.size > SLOTS_KEPT ? this.slots.keys().next().value : undefined;
      if (oldest !== undefined) this.slots.delete(oldest);
    }
    values.add(valueKey);
    if (values.size >= MAX_COUNTERS) this.full.set(key, values);
  }

  /** What the call is charged and takes of token limits, as it would have run. */
  private spentBy(event: PastSpend, instead: Instead | null): { readonly nano: Nano; readonly tokens: bigint } {
    if (instead === null) return { nano: event.chargeNano, tokens: tokensOf(event.usage) };
    const { facts, amountNano } = instead.option.candidate;
    const usage = event.usage === null ? null : shortened(event.usage, instead.shortenedTo);
    const rating = this.tools.prices.rate({
      provider: facts.provider,
      model: facts.model,
      requestedModel: event.requestedModel,
      sourceId: event.sourceId,
      usage: usage ?? {},
      at: event.occurredAt,
      rateCardId: this.setup.tenant.rateCardId,
      free: false,
      reportedCostNano: null,
    });
    if (usage !== null && rating.ok) return { nano: rating.chargeNano, tokens: tokensOf(usage) };
    this.assumed += 1;
    return { nano: event.chargeNano < amountNano ? event.chargeNano : amountNano, tokens: tokensOf(usage) };
  }
}
