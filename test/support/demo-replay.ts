/**
 * The demo's day as a gateway that asks first would have lived it: each call asks when it starts, runs as it was told to, and is reported when
 * it ends. The clock stands still between two steps, and what was reported is booked every two minutes, so that two replays of one day differ in
 * nothing but what was answered.
 */
import { HoldJournal } from '#libs/quota/index.js';
import type { JsonObject } from '#libs/kernel/index.js';
import { dayOfTraffic } from '../../scripts/demo/traffic.js';
import type { TestApi } from './api.js';
import { settleEverything } from './posting.js';

/** By default one in eight of the day's users; all of it takes three minutes more (TOLLGATE_DEMO_DAY=all). */
export const DEMO_SHARE = process.env['TOLLGATE_DEMO_DAY'] === 'all' ? 1 : 8;
export const DAY_START = Date.parse('2026-11-21T11:00:00Z');
const DAY_SECONDS = 86_400;
const SEED = 41;
const TICK_MS = 120_000;
/** What every call of the day says it answers at most. */
export const MOST_OUTPUT_TOKENS = 1_500;

export interface DemoCall {
  readonly callId: string;
  readonly tenantId: string;
  readonly userId: string;
  readonly feature: string;
  readonly provider: string;
  readonly model: string;
  readonly startMs: number;
  readonly endMs: number;
  readonly failed: boolean;
  readonly input: number;
  readonly cacheRead: number;
  readonly output: number;
}

/** What a replay was answered, by call. */
export interface ReplayAnswer {
  readonly call: DemoCall;
  readonly decision: 'allow' | 'downgrade' | 'block';
  readonly reason: string;
  readonly maxOutputTokens: number | null;
  /** Of what refused: used, held, limit. */
  readonly binding: { readonly used: string; readonly held: string; readonly limit: string } | null;
}

interface Payload {
  readonly litellm_call_id: string;
  readonly status: string;
  readonly custom_llm_provider: string;
  readonly model: string;
  readonly startTime: number;
  readonly endTime: number;
  readonly cache_hit: boolean | null;
  readonly metadata: { readonly requester_metadata: { readonly tenant_id: string; readonly user_id: string; readonly feature: string } };
  readonly usage: { readonly prompt_tokens: number; readonly completion_tokens: number; readonly prompt_tokens_details?: { readonly cached_tokens: number } };
}

/** One in `share` of the day's users with all that they did, and one in `share` of the calls of those who are no people. */
export function demoDay(share: number): DemoCall[] {
  const { payloads } = dayOfTraffic({ seed: SEED, endSeconds: DAY_START / 1_000 + DAY_SECONDS, label: 'replayed' });
  return payloads.map(toCall).filter(({ userId }, index) => (userId.startsWith('u_') ? Number(userId.slice(2)) : index) % share === 0);
}

function toCall(payload: JsonObject): DemoCall {
  const { metadata, ...rest } = payload as unknown as Payload & { metadata: { usage_object: Payload['usage'] } };
  const { tenant_id: tenantId, user_id: userId, feature } = metadata.requester_metadata;
  const usage = metadata.usage_object;
  const cacheRead = usage.prompt_tokens_details?.cached_tokens ?? 0;
  return {
    callId: rest.litellm_call_id,
    tenantId,
    userId,
    feature,
    provider: rest.custom_llm_provider,
    model: rest.model.slice(rest.custom_llm_provider.length + 1),
    startMs: Math.round(rest.startTime * 1_000),
    endMs: Math.round(rest.endTime * 1_000),
    // What came from the gateway's cache never reached a provider either.
    failed: rest.status !== 'success' || rest.cache_hit === true,
    input: usage.prompt_tokens - cacheRead,
    cacheRead,
    output: usage.completion_tokens,
  };
}

/** Lives the calls, in the order of their starts and ends, and books the last of them. */
export async function replay(api: TestApi, calls: readonly DemoCall[]): Promise<ReplayAnswer[]> {
  const steps = calls.flatMap((call) => [
    { atMs: call.startMs, call, ends: false },
    { atMs: call.endMs, call, ends: true },
  ]);
  steps.sort((a, b) => a.atMs - b.atMs || Number(b.ends) - Number(a.ends));
  const answers = new Map<string, ReplayAnswer>();
  const running = new Map<string, { holdId: string; model: string; provider: string }>();
  let nextTick = DAY_START + TICK_MS;
  let isQuiet = true;
  for (const { atMs, call, ends } of steps) {
    for (; nextTick <= atMs; nextTick += TICK_MS) {
      if (!isQuiet) await tick(api, nextTick);
      isQuiet = true;
    }
    isQuiet = false;
    api.clock.set(new Date(atMs));
    if (ends) await end(api, call, answers.get(call.callId), running.get(call.callId));
    else answers.set(call.callId, await ask(api, call, running));
  }
  await tick(api, nextTick);
  return [...answers.values()];
}

/** As the worker's loops do all the time. */
async function tick(api: TestApi, atMs: number): Promise<void> {
  api.clock.set(new Date(atMs));
  await api.app.get(HoldJournal).flush();
  await settleEverything(api.app);
}

async function ask(api: TestApi, call: DemoCall, running: Map<string, { holdId: string; model: string; provider: string }>): Promise<ReplayAnswer> {
  const body = {
    call_id: call.callId,
    tenant_id: call.tenantId,
    user_id: call.userId,
    feature: call.feature,
    provider: call.provider,
    model: call.model,
    input_tokens: call.input + call.cacheRead,
    max_output_tokens: MOST_OUTPUT_TOKENS,
  };
  const answer = await api.call('POST', '/v1/authorize', { body });
  if (answer.status !== 200) throw new Error(JSON.stringify(answer.body));
  const { decision, hold, reason, route, max_output_tokens: maxOutputTokens, limits } = answer.body;
  if (hold !== null) running.set(call.callId, { holdId: hold.hold_id, ...route });
  const binding = limits.find((limit: { binding: boolean }) => limit.binding) ?? null;
  return { call, decision, reason: reason.code, maxOutputTokens, binding };
}

/** Every other call is reported by its gateway, which knows its call id alone; the rest are settled by who asked. */
async function end(
  api: TestApi,
  call: DemoCall,
  answer: ReplayAnswer | undefined,
  runs: { holdId: string; model: string; provider: string } | undefined,
): Promise<void> {
  if (runs === undefined || answer === undefined) return;
  const output = Math.min(call.output, answer.maxOutputTokens ?? MOST_OUTPUT_TOKENS);
  const usage = { input_tokens: call.input, cache_read_tokens: call.cacheRead, output_tokens: output };
  const { holdId, provider, model } = runs;
  const reported = call.callId.endsWith('1') || call.callId.endsWith('3');
  if (call.failed) {
    // A call that lasts has its row when it ends.
    await api.app.get(HoldJournal).flush();
    await told(api, `/v1/holds/${holdId}/release`, {});
  } else if (reported) {
    const { callId, tenantId, userId, feature } = call;
    const said = { tenant_id: tenantId, user_id: userId, feature, provider, model, requested_model: call.model };
    await told(api, '/v1/events', { event_id: `evt-${callId}`, call_id: callId, ...said, usage });
  } else await told(api, `/v1/holds/${holdId}/settle`, { provider, model, usage });
}

async function told(api: TestApi, path: string, body: object): Promise<void> {
  const answer = await api.call('POST', path, { body });
  if (answer.status >= 300) throw new Error(`${path}: ${JSON.stringify(answer.body)}`);
}
