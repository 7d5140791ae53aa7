/**
 * What may run for a request: the model that was asked for, then its ladder, each with its price and everything it would take of the
 * limits that count for it. Steps that have no price or that the caller's key may not call are left out.
 */
import type { Tenant } from '#libs/tenancy/index.js';
import type { Estimate } from '../domain/decision.js';
import { attributesOf, type AskTerm, type CallFacts } from '../domain/hold.js';
import type { Room } from '../domain/judge.js';
import { claimsFor } from '../domain/match-budgets.js';
import { matchesModel } from '../domain/route.js';
import type { AuthorizeInput } from './authorize-input.js';
import type { EstimateCall, EstimateOutcome } from './estimate-call.js';
import type { KeyTerms } from './recognise-key.js';
import type { Candidate } from './quota-store.js';
import type { TenantRules } from './rule-book.js';

/** A shorter answer than this is no use to anybody. */
const SHORTEST_ANSWER_TOKENS = 16;
const LONGEST_LADDER = 8;

type Estimated = Extract<EstimateOutcome, { ok: true }>;

/** One model that may run. */
export interface Option {
  /** As the caller would name it: what was asked for, or the ladder's step. */
  readonly name: string | null;
  readonly isAsked: boolean;
  readonly estimate: Estimate;
  readonly candidate: Candidate;
}

export type Options = readonly [Option, ...Option[]];

export interface PlanInput {
  readonly input: AuthorizeInput;
  readonly tenant: Tenant;
  readonly rules: TenantRules;
  readonly estimated: Estimated;
  readonly now: Date;
  readonly terms: KeyTerms;
}

export class PlanCandidates {
  constructor(private readonly estimate: EstimateCall) {}

  async execute(plan: PlanInput): Promise<Options> {
    const asked = optionOf(plan, plan.input.model, true, plan.estimated);
    const { model } = plan.input;
    const ladder: Option[] = [];
    for (const step of model === null || plan.input.canChange === 'nothing' ? [] : plan.rules.ladder(model).slice(0, LONGEST_LADDER)) {
      if (!mayCall(plan.terms.models, step)) continue;
      const estimated = await this.estimateStep(plan, step, plan.input.maxOutputTokens);
      if (estimated !== null) ladder.push(optionOf(plan, step, false, estimated));
    }
    return [asked, ...ladder];
  }

  /** The same options with the longest answer that fits their rooms; those for which none does are left out. */
  async cut(plan: PlanInput, options: readonly Option[], rooms: readonly Room[]): Promise<Option[]> {
    const { maxOutputTokens } = plan.input;
    if (maxOutputTokens === null || !mayShorten(plan.input)) return [];
    const shorter: Option[] = [];
    for (const [index, option] of options.entries()) {
      const room = rooms[index];
      const found = room === undefined || !room.open ? null : await this.longestAnswer(plan, option, room, maxOutputTokens - 1);
      if (found !== null) shorter.push(withoutThresholds(found));
    }
    return shorter;
  }

  private async longestAnswer(plan: PlanInput, option: Option, room: Room, most: number): Promise<Option | null> {
    let fits: Option | null = null;
    let [low, high] = [SHORTEST_ANSWER_TOKENS, most];
    while (low <= high) {
      const tokens = Math.floor((low + high) / 2);
      const estimated = await this.estimateStep(plan, option.name ?? '', tokens);
      if (estimated === null) return null;
      const { costNano, inputTokens } = estimated.estimate;
      const isRoomy = (room.nano === null || costNano <= room.nano || costNano === 0n) && (room.tokens === null || BigInt(inputTokens + tokens) <= room.tokens);
      if (isRoomy) {
        fits = optionOf(plan, option.name, option.isAsked, estimated);
        low = tokens + 1;
      } else high = tokens - 1;
    }
    return fits;
  }

  /** With the asked provider where it has the model, else, where the caller may go elsewhere, with the one that the name means. */
  private async estimateStep({ input, tenant, now }: PlanInput, model: string, maxOutputTokens: number | null): Promise<Estimated | null> {
    const providers = input.provider === null ? [null] : input.canChange === 'same_provider' ? [input.provider] : [input.provider, null];
    for (const provider of providers) {
      const outcome = await this.estimate.execute({ ...input, provider, model, maxOutputTokens, estimatedCostNano: null }, tenant, now);
      if (outcome.ok) return outcome;
    }
    return null;
  }
}

/** Whether a key with these patterns may call the model. */
export function mayCall(patterns: readonly string[] | null, model: string | null): boolean {
  return patterns === null || (model !== null && patterns.some((pattern) => matchesModel(pattern, model)));
}

function withoutThresholds(option: Option): Option {
  return { ...option, candidate: { ...option.candidate, claims: option.candidate.claims.map((claim) => ({ ...claim, downgradeAt: null })) } };
}

function optionOf(plan: PlanInput, name: string | null, isAsked: boolean, estimated: Estimated): Option {
  const { input, tenant, rules, now } = plan;
  const facts = factsOf(input, name, estimated);
  const { estimate } = estimated;
  const matches = rules.set.isEmpty ? [] : rules.set.match(attributesOf(tenant.tenantId, facts), now.getTime());
  const claims = claimsFor(matches, {
    amountNano: estimate.costNano,
    tokens: BigInt(estimate.inputTokens + estimate.maxOutputTokens),
    critical: input.critical,
    enforce: tenant.enforcement === 'enforce',
  });
  return { name, isAsked, estimate, candidate: { amountNano: estimate.costNano, claims, facts } };
}

export function factsOf(input: AuthorizeInput, name: string | null, { estimate, provider, model }: Estimated): CallFacts {
  return {
    callId: input.callId,
    provider: provider ?? input.provider,
    model: model ?? name,
    requestedModel: input.model,
    inputTokens: estimate.inputTokens,
    maxOutputTokens: estimate.maxOutputTokens,
    userId: input.userId,
    feature: input.feature,
    environment: input.environment ?? 'prod',
    assistantId: input.assistantId,
    threadId: input.threadId,
    apiKeyId: input.apiKeyId,
    requestId: input.requestId,
    priceVersion: estimate.priceVersion,
    tags: input.tags,
    sourceId: input.sourceId === '' ? null : input.sourceId,
    terms: termsOf(input),
  };
}

function termsOf(input: AuthorizeInput): AskTerm[] {
  const terms: AskTerm[] = input.critical ? ['critical'] : [];
  if (input.canChange === 'same_provider') terms.push('same_provider');
  if (input.canChange === 'nothing') terms.push('as_asked');
  if (!mayShorten(input)) terms.push('fixed_length');
  return terms;
}

/** Where the cost was given, or the length of the answer was not, a shorter one would promise nothing. */
function mayShorten({ maxOutputTokens, estimatedCostNano, canChange }: AuthorizeInput): boolean {
  return maxOutputTokens !== null && estimatedCostNano === null && canChange !== 'nothing';
}
