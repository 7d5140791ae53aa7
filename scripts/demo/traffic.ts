/**
 * A day of six tenants' LiteLLM payloads, the same for the same seed: office hours, streams, cache hits, refused and abandoned calls, and
 * one summariser that a retry loop sends the whole archive through, until it makes 41 % of the bill.
 * Amounts are worked out here as well, so that the demo can hold Tollgate's figures against its own.
 */
import { formatUsd, type JsonObject, type Nano } from '#libs/kernel/index.js';

/** Nano-USD per token of what the providers list: input, cache read, output. */
const PRICES = {
  'gpt-4o': { provider: 'openai', input: 2_500n, cacheRead: 1_250n, output: 10_000n },
  'gpt-4o-mini': { provider: 'openai', input: 150n, cacheRead: 75n, output: 600n },
  'claude-opus-4-6': { provider: 'anthropic', input: 5_000n, cacheRead: 500n, output: 25_000n },
  'claude-sonnet-4-5-20250929': { provider: 'anthropic', input: 3_000n, cacheRead: 300n, output: 15_000n },
} as const;
type Model = keyof typeof PRICES;

const ALIASES: Record<Model, string> = {
  'gpt-4o': 'gpt-4o',
  'gpt-4o-mini': 'gpt-4o-mini',
  'claude-opus-4-6': 'claude-opus',
  'claude-sonnet-4-5-20250929': 'claude-sonnet',
};

interface Workload {
  readonly tenantId: string;
  readonly feature: string;
  readonly model: Model;
  /** Calls out of a hundred of the everyday traffic. */
  readonly share: number;
  readonly input: number;
  readonly output: number;
  readonly users: number;
}

const EVERYDAY: readonly Workload[] = [
  { tenantId: 'acme', feature: 'chat', model: 'gpt-4o', share: 20, input: 1_100, output: 350, users: 120 },
  { tenantId: 'acme', feature: 'autocomplete', model: 'gpt-4o-mini', share: 18, input: 600, output: 60, users: 120 },
  { tenantId: 'globex', feature: 'support_agent', model: 'claude-sonnet-4-5-20250929', share: 14, input: 2_400, output: 420, users: 35 },
  { tenantId: 'globex', feature: 'document_summarize', model: 'claude-opus-4-6', share: 2, input: 9_000, output: 600, users: 4 },
  { tenantId: 'initech', feature: 'code_review', model: 'claude-sonnet-4-5-20250929', share: 12, input: 5_200, output: 700, users: 24 },
  { tenantId: 'initech', feature: 'commit_message', model: 'gpt-4o-mini', share: 10, input: 1_800, output: 90, users: 24 },
  { tenantId: 'umbrella', feature: 'lab_report', model: 'gpt-4o', share: 9, input: 3_000, output: 800, users: 9 },
  { tenantId: 'hooli', feature: 'search_answers', model: 'gpt-4o-mini', share: 9, input: 2_600, output: 240, users: 400 },
  { tenantId: 'soylent', feature: 'recipe_writer', model: 'gpt-4o', share: 6, input: 500, output: 900, users: 15 },
];
const RUNAWAY = { tenantId: 'globex', feature: 'document_summarize', userId: 'batch-7', model: 'claude-opus-4-6', percent: 41n } as const;

/** Prepaid credit each tenant starts the day with. */
export const CREDITS: Readonly<Record<string, string>> = { acme: '100', globex: '200', initech: '150', umbrella: '80', hooli: '25', soylent: '60' };

const EVERYDAY_CALLS = 19_000;
const DAY_SECONDS = 86_400;
/** The loop starts when the nightly import begins and is found in the morning. */
const RUNAWAY_FROM = 0.55;
const RUNAWAY_UNTIL = 0.97;

export interface Traffic {
  /** In the order in which they happened. */
  readonly payloads: readonly JsonObject[];
  readonly totalCost: Nano;
}

/** Numbers from 0 to 1, the same for the same seed (mulberry32). */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

interface Call {
  readonly at: number;
  readonly work: Workload;
  readonly userId: string;
  readonly outcome: 'answered' | 'cached' | 'rate_limited' | 'abandoned';
  readonly stream: boolean;
  readonly input: number;
  readonly cacheRead: number;
  readonly output: number;
}

/** The 24 hours that end at `endSeconds` (Unix seconds). `label` makes the ids of one day differ from those of the next. */
export function dayOfTraffic(input: { seed: number; endSeconds: number; label: string }): Traffic {
  const random = seeded(input.seed);
  const calls = Array.from({ length: EVERYDAY_CALLS }, () => everydayCall(random));
  let runawayCost = totalOf(calls.filter(isRunaway));
  // The feature's target is 41 % of everything, that is 41/59 of all the rest.
  const runawayTarget = ((totalOf(calls) - runawayCost) * RUNAWAY.percent) / (100n - RUNAWAY.percent);
  while (runawayCost < runawayTarget) {
    const call = runawayCall(random);
    calls.push(call);
    runawayCost += costOf(call);
  }
  calls.sort((a, b) => a.at - b.at);
  const startSeconds = input.endSeconds - DAY_SECONDS;
  return {
    payloads: calls.map((call, index) => payloadOf(call, `${input.label}-${index}`, startSeconds)),
    totalCost: totalOf(calls),
  };
}

function isRunaway({ work }: Call): boolean {
  return work.tenantId === RUNAWAY.tenantId && work.feature === RUNAWAY.feature;
}

function totalOf(calls: readonly Call[]): Nano {
  return calls.reduce((sum, call) => sum + costOf(call), 0n);
}

function everydayCall(random: () => number): Call {
  const work = pick(random);
  const draw = random();
  const spread = (mean: number): number => Math.max(1, Math.round(mean * (0.4 + 1.2 * random())));
  const input = spread(work.input);
  return {
    at: officeHour(random),
    work,
    userId: `u_${1 + Math.floor(random() * work.users)}`,
    outcome: draw < 0.03 ? 'cached' : draw < 0.04 ? 'rate_limited' : draw < 0.055 ? 'abandoned' : 'answered',
    stream: random() < 0.4,
    input,
    cacheRead: random() < 0.3 ? Math.floor(input * 0.6) : 0,
    output: spread(work.output),
  };
}

/** Long documents, one after the other, each time the whole of it: nothing comes from a cache. */
function runawayCall(random: () => number): Call {
  const work: Workload = { tenantId: RUNAWAY.tenantId, feature: RUNAWAY.feature, model: RUNAWAY.model, share: 0, input: 0, output: 0, users: 1 };
  return {
    at: DAY_SECONDS * (RUNAWAY_FROM + (RUNAWAY_UNTIL - RUNAWAY_FROM) * random()),
    work,
    userId: RUNAWAY.userId,
    outcome: 'answered',
    stream: false,
    input: 10_000 + Math.floor(random() * 6_000),
    cacheRead: 0,
    output: 700 + Math.floor(random() * 500),
  };
}

function pick(random: () => number): Workload {
  let left = random() * EVERYDAY.reduce((sum, work) => sum + work.share, 0);
  for (const work of EVERYDAY) {
    left -= work.share;
    if (left <= 0) return work;
  }
  return EVERYDAY[0] as Workload;
}

/** Second of the day: two in three calls fall into the busy third of it. */
function officeHour(random: () => number): number {
  const busy = random() < 0.66;
  const third = DAY_SECONDS / 3;
  return busy ? third * (1.4 + random()) : DAY_SECONDS * random();
}

function costOf(call: Call): Nano {
  if (call.outcome === 'cached' || call.outcome === 'rate_limited') return 0n;
  const price = PRICES[call.work.model];
  return BigInt(call.input - call.cacheRead) * price.input + BigInt(call.cacheRead) * price.cacheRead + BigInt(call.output) * price.output;
}

/** A StandardLoggingPayload as LiteLLM 1.104.0 sends it with message logging off, without the fields nobody reads. */
function payloadOf(call: Call, label: string, startSeconds: number): JsonObject {
  const { model } = call.work;
  const failed = call.outcome === 'rate_limited';
  const cached = call.outcome === 'cached';
  const callId = `call-${label}`;
  const id = failed ? callId : `chatcmpl-${label}${cached ? '_cache_hit1' : ''}`;
  const start = startSeconds + Math.round(call.at * 1000) / 1000;
  const end = start + (cached || failed ? 0.02 : 0.4 + call.output / 90);
  const usage = usageOf(call);
  const price = PRICES[model];
  return {
    id,
    litellm_call_id: callId,
    call_type: 'acompletion',
    cache_hit: cached ? true : null,
    stream: call.stream && !failed ? true : null,
    status: failed ? 'failure' : 'success',
    custom_llm_provider: price.provider,
    startTime: start,
    endTime: end,
    completionStartTime: call.stream && !failed ? start + 0.35 : end,
    model: `${price.provider}/${model}`,
    model_group: ALIASES[model],
    response_cost: Number(formatUsd(costOf(call))),
    prompt_tokens: usage['prompt_tokens'] ?? 0,
    completion_tokens: usage['completion_tokens'] ?? 0,
    metadata: {
      user_api_key_alias: `${call.work.tenantId}-app`,
      requester_metadata: { tenant_id: call.work.tenantId, user_id: call.userId, feature: call.work.feature },
      usage_object: usage,
    },
    request_tags: ['User-Agent: OpenAI/Python'],
    messages: [{ role: 'user', content: 'redacted-by-litellm' }],
    response: failed ? {} : { id: `chatcmpl-${label}`, model },
    error_str: call.outcome === 'abandoned' ? 'Client disconnected the request' : null,
    error_information: failed
      ? { error_class: 'RateLimitError', error_code: '429', llm_provider: price.provider }
      : { error_class: '', error_code: '', llm_provider: '' },
  };
}

function usageOf(call: Call): JsonObject {
  if (call.outcome === 'rate_limited') return { prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 };
  return {
    prompt_tokens: call.input,
    completion_tokens: call.output,
    total_tokens: call.input + call.output,
    prompt_tokens_details: { cached_tokens: call.cacheRead },
  };
}
