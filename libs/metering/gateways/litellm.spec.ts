import { formatUsd, parsePrice, parseUsd, roundToNano, type Json, type JsonObject } from '#libs/kernel/index.js';
import { expectedLiteLlm, LITELLM_SAMPLES, liteLlmSample } from '../../../test/support/litellm-samples.js';
import type { SpendReport } from '../domain/spend-event.js';
import { LITELLM_ATTRIBUTION, readLiteLlm } from './litellm.js';

const NOW = new Date('2026-11-22T12:00:00Z');
const expected = expectedLiteLlm();

function reportOf(item: Json, attribution = {}): SpendReport {
  const outcome = readLiteLlm(item, attribution);
  if (!outcome.ok) throw new Error(`${outcome.code} ${outcome.path}: ${outcome.message}`);
  return outcome.report;
}

function refusalOf(item: Json): { code: string; path: string } {
  const outcome = readLiteLlm(item, {});
  if (outcome.ok) throw new Error('was read');
  return { code: outcome.code, path: outcome.path };
}

/** A copy of a sample with some values set by path. */
function changed(item: JsonObject, changes: Record<string, Json>): JsonObject {
  const copy = structuredClone(item);
  for (const [path, value] of Object.entries(changes)) {
    const names = path.split('.');
    let parent = copy;
    for (const name of names.slice(0, -1)) parent = parent[name] as JsonObject;
    parent[names.at(-1) ?? ''] = value;
  }
  return copy;
}

const success = liteLlmSample('success', NOW);
const stream = liteLlmSample('stream', NOW);
const rateLimited = liteLlmSample('failure-rate-limit', NOW);
const aborted = liteLlmSample('stream-aborted-no-usage', NOW);

describe('every sample comes to the figures worked out by hand', () => {
  it.each(LITELLM_SAMPLES)('%s', (name) => {
    const item = liteLlmSample(name, NOW);
    const report = reportOf(item);
    const want = expected.samples[name];
    expect(report.externalId).toBe(want.event_id.replace('{startTime}', String(item['startTime'] as number)));
    expect(report.tenantId).toBe(want.tenant_id);
    expect(report.status).toBe(want.status);
    expect(report.quality).toBe(want.quality);
    expect(report.usage).toEqual(want.usage);
    expect(report.claimedCostNano === null ? null : formatUsd(report.claimedCostNano)).toBe(want.claimed_cost_usd);
  });

  it.each(LITELLM_SAMPLES)('%s: the working of the literal adds up and names every pool that is charged', (name) => {
    const { working, usage, cost_usd } = expected.samples[name];
    const femto = Object.values(working).reduce((sum, [quantity, price]) => sum + BigInt(quantity) * parsePrice(price), 0n);
    if (cost_usd === null) return expect(working).toEqual({});
    expect(formatUsd(roundToNano(femto))).toBe(cost_usd);
    const { meters = {}, reasoning_tokens: _insideOutput, ...pools } = usage ?? {};
    const quantities = { ...pools, ...Object.fromEntries(Object.entries(meters).map(([meter, quantity]) => [`meter:${meter}`, quantity])) };
    expect(Object.fromEntries(Object.entries(working).map(([component, [quantity]]) => [component, quantity]))).toEqual(quantities);
  });

  it('totals of the fixture are the sums of its samples', () => {
    const total = LITELLM_SAMPLES.reduce((sum, name) => sum + parseUsd(expected.samples[name].cost_usd ?? '0'), 0n);
    expect(formatUsd(total)).toBe(expected.cost_usd);
    const byTenant = Object.values(expected.totals_by_tenant).reduce((sum, tenant) => sum + parseUsd(tenant.cost_usd), 0n);
    expect(formatUsd(byTenant)).toBe(expected.cost_usd);
  });
});

describe('identity', () => {
  it('maps who asked, what ran and what was asked for', () => {
    expect(reportOf(success)).toMatchObject({
      callId: '3f6d5f6e-8f0b-4a53-9a55-2f1b5a0e77c1',
      providerResponseId: 'chatcmpl-CFx1aKq7RrM0u2pYpZ0n9h4t',
      userId: 'u_1042',
      feature: 'document_summarize',
      environment: 'prod',
      assistantId: 'asst_summarizer',
      threadId: 'th_77',
      requestId: 'req_01J7R8Z3KQ',
      apiKeyId: '9f1c2e7a4b5d6c8e0a1b3d5f7c9e2a4b6d8f0c1e3a5b7d9f2c4e6a8b0d1f3c5e',
      holdId: null,
      provider: 'openai',
      model: 'gpt-4o',
      requestedModel: 'gpt-4o',
      tags: null,
      claimsCall: true,
    });
  });

  it('a tenant bound to the key stands before one that a client can send', () => {
    const item = changed(success, { 'metadata.user_api_key_auth_metadata': { tenant_id: 'bound' }, 'metadata.spend_logs_metadata': { tenant_id: 'header' } });
    expect(reportOf(item).tenantId).toBe('bound');
  });

  it.each([
    ['spend logs metadata before the body', { 'metadata.spend_logs_metadata': { tenant_id: 'header' } }, 'header'],
    ['an alias of the name', { 'metadata.requester_metadata': { customer_id: 'c1' } }, 'c1'],
    ['a header tag where metadata is silent', { 'metadata.requester_metadata': null, request_tags: ['User-Agent: x', 'X-Tenant-Id: globex'] }, 'globex'],
    ['the team at last', { 'metadata.requester_metadata': {} }, 'team-backend'],
    ['a whole number counts as its text', { 'metadata.requester_metadata.tenant_id': 42 }, '42'],
    ['an empty text counts as not given', { 'metadata.requester_metadata.tenant_id': '' }, 'team-backend'],
  ])('%s', (_case, changes, tenantId) => {
    expect(reportOf(changed(success, changes as Record<string, Json>)).tenantId).toBe(tenantId);
  });

  it('a source may say where its tenant is, and only there is looked', () => {
    const attribution = { tenant_id: ['metadata.requester_metadata.headers.x-org', 'tag:org'] };
    const item = changed(success, { 'metadata.requester_metadata.headers': { 'x-org': 'org-1' } });
    expect(reportOf(item, attribution).tenantId).toBe('org-1');
    expect(reportOf(changed(success, { request_tags: ['org:org-2'] }), attribution).tenantId).toBe('org-2');
    expect(reportOf(success, attribution).tenantId).toBeNull();
  });

  it('a path into prompts, answers or parameters is not followed', () => {
    expect(reportOf(success, { feature: ['messages.0.content', 'response.id', 'model_parameters.temperature'] }).feature).toBeNull();
  });

  it.each([[' acme'], ['a\u0000b'], ['x'.repeat(129)], [{ id: 'acme' }], [['acme']], [true], [1.5]])(
    'a tenant in a form no id has is refused, never guessed: %j',
    (value) => {
      expect(refusalOf(changed(success, { 'metadata.requester_metadata.tenant_id': value }))).toEqual({
        code: 'litellm.invalid_field',
        path: 'tenant_id',
      });
    },
  );

  it('any other field in a form no id has is left out and named', () => {
    const report = reportOf(changed(success, { 'metadata.requester_metadata.feature': { deep: 1 } }));
    expect(report.feature).toBeNull();
    expect(report.metadata).toMatchObject({ unusable_fields: 'feature' });
  });

  it('the hold that a hook wrote into the call comes back', () => {
    const hold = 'hold_0190a0b0-0000-7000-8000-000000000001';
    expect(reportOf(changed(success, { 'metadata.spend_logs_metadata': { tollgate_hold_id: hold } })).holdId).toBe(hold);
    expect(reportOf(changed(success, { 'metadata.spend_logs_metadata': { tollgate_hold_id: 'not a hold' } })).holdId).toBeNull();
  });

  it('an id too long for an event id is replaced by its digest, so that a resend still meets it', () => {
    const item = changed(success, { id: `resp_${'a'.repeat(300)}` });
    expect(reportOf(item).externalId).toMatch(/^litellm:sha256:[0-9a-f]{64}$/);
    expect(reportOf(item).externalId).toBe(reportOf(structuredClone(item)).externalId);
    expect(reportOf(item).externalId).not.toBe(reportOf(changed(item, { id: `resp_${'a'.repeat(301)}` })).externalId);
  });

  it('attempts of one call are events of their own, a resend of an attempt is not', () => {
    const later = changed(rateLimited, { startTime: (rateLimited['startTime'] as number) + 0.25 });
    expect(reportOf(later).externalId).not.toBe(reportOf(rateLimited).externalId);
    expect(reportOf(structuredClone(rateLimited)).externalId).toBe(reportOf(rateLimited).externalId);
  });

  it('what reached no provider, or was one attempt of several, never takes the place of the call', () => {
    for (const name of ['cache-hit', 'failure-rate-limit', 'failure-blocked-by-hook', 'stream-aborted-no-usage'] as const) {
      expect(reportOf(liteLlmSample(name, NOW)).claimsCall).toBe(false);
    }
    expect(reportOf(liteLlmSample('cache-hit', NOW)).providerResponseId).toBeNull();
  });
});

describe('models', () => {
  it.each([
    [{ model: 'hosted_vllm/acme/llama', custom_llm_provider: 'hosted_vllm' }, 'acme/llama'],
    [{ model: 'bedrock/converse/anthropic.claude-v2:1', custom_llm_provider: 'bedrock' }, 'anthropic.claude-v2:1'],
    [{ model: 'gpt-4o', custom_llm_provider: 'openai' }, 'gpt-4o'],
    [
      { model: 'anthropic/claude-3-5-sonnet-latest', custom_llm_provider: 'anthropic', 'response.model': 'claude-3-5-sonnet-20241022' },
      'claude-3-5-sonnet-20241022',
    ],
    [{ model: 'anthropic/claude-3-5-sonnet-latest', custom_llm_provider: 'anthropic', 'response.model': 'gpt-4o' }, 'claude-3-5-sonnet-latest'],
    [{ model: 'azure/our-deployment', custom_llm_provider: 'azure', 'model_map_information.model_map_value': { key: 'azure/gpt-4o' } }, 'gpt-4o'],
    [{ model: '' }, null],
    [{ model: 'a sentence is no model' }, null],
  ])('%j', (changes, model) => {
    expect(reportOf(changed(success, changes as Record<string, Json>)).model).toBe(model);
  });
});

describe('usage', () => {
  const usage = (changes: Record<string, Json>): SpendReport =>
    reportOf(changed(success, Object.fromEntries(Object.entries(changes).map(([path, value]) => [`metadata.usage_object.${path}`, value]))));

  it('audio and image tokens leave the text pools, reasoning stays inside output', () => {
    const report = usage({
      'prompt_tokens_details.audio_tokens': 50,
      'prompt_tokens_details.image_tokens': 26,
      'completion_tokens_details.audio_tokens': 40,
      'completion_tokens_details.reasoning_tokens': 100,
    });
    expect(report.usage).toEqual({
      input_tokens: 100,
      cache_read_tokens: 1024,
      audio_input_tokens: 50,
      image_input_tokens: 26,
      output_tokens: 310,
      reasoning_tokens: 100,
      audio_output_tokens: 40,
    });
    expect(report.metadata).not.toHaveProperty('usage_inconsistent');
  });

  it('parts larger than their whole are clamped at 0 and flagged', () => {
    const report = usage({ 'prompt_tokens_details.cached_tokens': 1300 });
    expect(report.usage).toEqual({ input_tokens: 0, cache_read_tokens: 1300, output_tokens: 350 });
    expect(report.metadata).toMatchObject({ usage_inconsistent: true });
  });

  it('a total that is not the sum is flagged', () => {
    expect(usage({ total_tokens: 1600 }).metadata).toMatchObject({ usage_inconsistent: true });
  });

  it('cache writes without a split are five-minute writes; a split without a total is taken', () => {
    expect(usage({ cache_creation_input_tokens: 76 }).usage).toMatchObject({ input_tokens: 100, cache_creation_tokens: 76 });
    expect(
      usage({ 'prompt_tokens_details.cache_creation_token_details': { ephemeral_5m_input_tokens: 70, ephemeral_1h_input_tokens: 6 } }).usage,
    ).toMatchObject({
      input_tokens: 100,
      cache_creation_tokens: 70,
      cache_creation_1h_tokens: 6,
    });
  });

  it('a success in which nothing was counted is unknown, never zero', () => {
    const silent = changed(success, { 'metadata.usage_object': null, 'response.usage': null, prompt_tokens: 0, completion_tokens: 0 });
    expect(reportOf(silent)).toMatchObject({ usage: null, quality: 'unknown' });
  });

  it.each([
    ['transcriptions by the second', { call_type: 'atranscription', 'response.usage': { type: 'duration', seconds: 61.2 } }, { audio_seconds: 62 }],
    ['tool calls', { call_type: 'call_mcp_tool' }, { mcp_tool_calls: 1 }],
    ['vector stores', { 'metadata.vector_store_request_metadata': [{ query: 'x' }, {}] }, { vector_reads: 2 }],
    ['reranking by the search unit', { 'response.meta': { billed_units: { search_units: 3 } } }, { search_units: 3 }],
  ])('%s', (_case, changes, meters) => {
    const silent = changed(success, { 'metadata.usage_object': null, 'response.usage': null, prompt_tokens: 0, completion_tokens: 0 });
    expect(reportOf(changed(silent, changes as Record<string, Json>)).usage).toEqual({ input_tokens: 0, output_tokens: 0, meters });
  });

  it('generated images count by the piece where no tokens are reported', () => {
    const item = changed(success, {
      call_type: 'aimage_generation',
      'metadata.usage_object': null,
      'response.usage': null,
      'response.data': [{ url: 'a' }, { url: 'b' }],
      prompt_tokens: 0,
      completion_tokens: 0,
    });
    expect(reportOf(item).usage).toEqual({ input_tokens: 0, output_tokens: 0, images: 2 });
  });

  it.each([
    ['metadata.usage_object.prompt_tokens', -1],
    ['metadata.usage_object.prompt_tokens', 1.5],
    ['metadata.usage_object.completion_tokens', '350'],
    ['metadata.usage_object.completion_tokens', 2 ** 53],
    ['metadata.usage_object.prompt_tokens_details.cached_tokens', true],
    ['metadata.usage_object.prompt_tokens_details', []],
    ['metadata.usage_object', 'none'],
    ['startTime', -5],
    ['status', 'maybe'],
    ['id', null],
  ])('%s = %j is refused by that name', (path, value) => {
    expect(refusalOf(changed(success, { [path]: value }))).toEqual({ code: 'litellm.invalid_field', path });
  });
});

describe('failures', () => {
  it('a stream that had begun without a count is unknown; one that never began is zero', () => {
    expect(reportOf(aborted)).toMatchObject({ usage: null, quality: 'unknown', status: 'error' });
    const neverBegan = changed(aborted, { completionStartTime: aborted['endTime'] as number });
    expect(reportOf(neverBegan)).toMatchObject({ usage: { input_tokens: 0, output_tokens: 0 }, quality: 'exact' });
  });

  it('a failure with tokens and a cost is billed as far as it is known', () => {
    const billed = changed(aborted, {
      response_cost: 0.000165,
      'metadata.usage_object.prompt_tokens': 30,
      'metadata.usage_object.completion_tokens': 9,
      'metadata.usage_object.total_tokens': 39,
    });
    expect(reportOf(billed)).toMatchObject({
      usage: { input_tokens: 30, output_tokens: 9 },
      quality: 'partial',
      status: 'error',
      claimedCostNano: 165_000n,
      claimsCall: false,
    });
  });

  it('a hook that refuses is blocked even where LiteLLM had already picked a deployment', () => {
    const item = changed(rateLimited, { 'error_information.error_class': 'HTTPException', 'error_information.llm_provider': '' });
    expect(reportOf(item)).toMatchObject({ status: 'blocked', provider: 'openai', usage: { input_tokens: 0, output_tokens: 0 } });
  });

  it("a provider's own refusal is an error, not a block", () => {
    expect(reportOf(rateLimited)).toMatchObject({ status: 'error', error: 'RateLimitError 429' });
  });

  it('a client that went away leaves a cancelled call with partial figures', () => {
    const item = changed(stream, {
      error_str: 'Client disconnected the request',
      'error_information.error_class': 'ClientDisconnected',
      'error_information.error_code': '499',
    });
    expect(reportOf(item)).toMatchObject({ status: 'cancelled', quality: 'partial', error: 'ClientDisconnected 499', claimsCall: true });
  });
});

describe('claimed cost', () => {
  it.each([
    ['the float debris of a sum is rounded away', { response_cost: 0.005220000000000001 }, 5_220_000n],
    [
      "the provider's price stands before the operator's margin",
      { response_cost: 0.00574, cost_breakdown: { original_cost: 0.00522, margin_total_amount: 0.00052 } },
      5_220_000n,
    ],
    ['a margin on an unpriced model is no cost', { response_cost: 0.1, cost_breakdown: { original_cost: 0, margin_total_amount: 0.1 } }, null],
    ['zero is not free', { response_cost: 0, cost_breakdown: { original_cost: 0 } }, null],
    ['a negative figure is none', { response_cost: -1 }, null],
    ['a text is none', { response_cost: '0.1' }, null],
  ])('%s', (_case, changes, nano) => {
    expect(reportOf(changed(success, changes as Record<string, Json>)).claimedCostNano).toBe(nano);
  });

  it('a hit of the gateway cache costs nothing although LiteLLM names an original cost', () => {
    const item = changed(liteLlmSample('cache-hit', NOW), { cost_breakdown: { original_cost: 0.0065 } });
    expect(reportOf(item)).toMatchObject({ claimedCostNano: 0n, usage: { input_tokens: 0, output_tokens: 0 } });
    expect(reportOf(item).metadata).toMatchObject({ cache_hit: true, saved_cache_cost: 0.00522 });
  });
});

describe('times', () => {
  it('latency is end minus start; time to first token exists for streams only', () => {
    expect(reportOf(stream)).toMatchObject({ latencyMs: 11_904, ttftMs: 412, stream: true });
    expect(reportOf(success)).toMatchObject({ latencyMs: 2_113, ttftMs: null, stream: false });
    expect(reportOf(stream).occurredAt?.getTime()).toBe(Math.round((stream['startTime'] as number) * 1000));
  });

  it('a clock that runs backwards gives no duration', () => {
    expect(reportOf(changed(stream, { endTime: 1, completionStartTime: 1 }))).toMatchObject({ latencyMs: null, ttftMs: null });
  });
});

describe('default places', () => {
  it('exist for every field', () => {
    for (const paths of Object.values(LITELLM_ATTRIBUTION)) expect(paths.length).toBeGreaterThan(0);
  });
});
