/** A call of the past as the question that authorize was asked, or would have been, and what came of it. */
import type { Nano } from '#libs/kernel/index.js';
import type { PastSpend } from '#libs/metering/index.js';
import type { Usage } from '#libs/pricing/index.js';
import type { CallFacts, Hold } from '../domain/hold.js';
import { tokensOf } from '../domain/usage-amounts.js';
import type { AuthorizeInput } from './authorize-input.js';
import type { Option, PlanInput } from './plan-candidates.js';

export type Estimated = PlanInput['estimated'];

export interface PastQuestion {
  readonly input: AuthorizeInput;
  /** What was asked for. */
  readonly estimated: Estimated;
  /** What was given. */
  readonly ran: { readonly facts: CallFacts; readonly amountNano: Nano };
  readonly atMs: number;
  readonly ttlMs: number;
  readonly policy: Hold['policy'];
  /** Null: nobody asked. */
  readonly holdId: string | null;
}

/** The question that a hold answers. @param costNano what it was estimated at; a cost that was given cannot be made smaller by a shorter answer */
export function inputOf(tenantId: string, facts: CallFacts, costNano: Nano): AuthorizeInput {
  const { terms } = facts;
  return {
    tenantId,
    callId: facts.callId,
    provider: facts.provider,
    model: facts.requestedModel,
    inputTokens: facts.inputTokens,
    maxOutputTokens: facts.maxOutputTokens,
    estimatedCostNano: terms.includes('fixed_length') ? costNano : null,
    userId: facts.userId,
    feature: facts.feature,
    environment: facts.environment,
    assistantId: facts.assistantId,
    threadId: facts.threadId,
    apiKey: null,
    apiKeyId: facts.apiKeyId,
    requestId: facts.requestId,
    tags: facts.tags,
    critical: terms.includes('critical'),
    sourceId: facts.sourceId ?? '',
    maySetUpTenants: async () => false,
    inPath: true,
    ...(terms.includes('same_provider') ? { canChange: 'same_provider' } : {}),
    ...(terms.includes('as_asked') ? { canChange: 'nothing' } : {}),
  };
}

/** A call that was only reported, asked for as it turned out. */
export function questionOfReport(event: PastSpend, atMs: number): PastQuestion {
  const maxOutputTokens = event.usage?.output_tokens ?? 0;
  const tokens = { inputTokens: Number(tokensOf(event.usage)) - maxOutputTokens, maxOutputTokens };
  const facts: CallFacts = {
    callId: event.callId,
    provider: event.provider,
    model: event.model,
    requestedModel: event.requestedModel ?? event.model,
    ...tokens,
    userId: event.userId,
    feature: event.feature,
    environment: event.environment,
    assistantId: event.assistantId,
    threadId: event.threadId,
    apiKeyId: event.apiKeyId,
    requestId: event.requestId,
    priceVersion: null,
    tags: event.tags,
    sourceId: event.sourceId,
    terms: ['fixed_length'],
  };
  return {
    input: inputOf(event.tenantId, facts, event.chargeNano),
    estimated: {
      ok: true,
      estimate: { costNano: event.chargeNano, basis: 'given', priceVersion: null, ...tokens },
      provider: event.provider,
      model: event.model,
    },
    ran: { facts, amountNano: event.chargeNano },
    atMs,
    ttlMs: 1,
    policy: 'release',
    holdId: null,
  };
}

/** What was given, as if that had been asked for. */
export function asRun({ ran: { facts, amountNano } }: PastQuestion): Estimated {
  const { inputTokens, maxOutputTokens, priceVersion, provider, model } = facts;
  return { ok: true, estimate: { costNano: amountNano, basis: 'given', priceVersion, inputTokens, maxOutputTokens }, provider, model };
}

export function runsTheSame({ candidate: { facts } }: Option, { ran }: PastQuestion): boolean {
  return facts.provider === ran.facts.provider && facts.model === ran.facts.model && facts.maxOutputTokens === ran.facts.maxOutputTokens;
}

/** How long an answer may be where it may not be as long as it was allowed to be; null: it may. */
export function shortenedTo({ candidate: { facts } }: Option, { ran }: PastQuestion): number | null {
  return facts.maxOutputTokens < ran.facts.maxOutputTokens ? facts.maxOutputTokens : null;
}

/** What a shorter answer would have used. */
export function shortened(usage: Usage, most: number | null): Usage {
  if (most === null || (usage.output_tokens ?? 0) <= most) return usage;
  const reasoning = usage.reasoning_tokens;
  return { ...usage, output_tokens: most, ...(reasoning === undefined ? {} : { reasoning_tokens: Math.min(reasoning, most) }) };
}
