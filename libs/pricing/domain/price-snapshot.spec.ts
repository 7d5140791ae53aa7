import { anOverride, aQuery, aRateCard, nano, snapshotWith } from '../testing/price-decisions.js';
import type { ModelAlias } from './model-alias.js';
import type { RateQuery, Rating } from './price-snapshot.js';

const listed = snapshotWith();
const rateOf = (query: Partial<RateQuery>): Rating => listed.rate(aQuery(query));
const TOKENS = { input_tokens: 1_000, output_tokens: 100 };

function alias(name: string, provider: string, model: string, more: Partial<ModelAlias> = {}): ModelAlias {
  return { sourceId: '', alias: name, provider, model, learned: false, ...more };
}

describe('list prices give what providers publish', () => {
  it('gpt-4o with a cached prompt', () => {
    const rating = rateOf({ usage: { input_tokens: 176, cache_read_tokens: 1_024, output_tokens: 350 } });
    expect(rating).toMatchObject({
      ok: true,
      costNano: nano('0.005220000'),
      chargeNano: nano('0.005220000'),
      provider: 'openai',
      model: 'gpt-4o',
      priceVersion: 'genai-prices-0.1.8/openai/gpt-4o',
    });
  });

  it('claude-sonnet-4-5 with both kinds of cache write and a web search', () => {
    const usage = {
      input_tokens: 312,
      cache_read_tokens: 18_000,
      cache_creation_tokens: 2_048,
      cache_creation_1h_tokens: 4_096,
      output_tokens: 700,
      reasoning_tokens: 180,
    };
    const query = { provider: 'anthropic', model: 'anthropic/claude-sonnet-4-5-20250929' };
    expect(rateOf({ ...query, usage })).toMatchObject({ ok: true, costNano: nano('0.049092000'), model: 'claude-sonnet-4-5' });
    const searched = rateOf({ ...query, usage: { ...usage, meters: { web_search: 1 } } });
    expect(searched).toMatchObject({ ok: true, costNano: nano('0.059092000') });
    expect(searched.ok && searched.lines.at(-1)).toEqual({
      component: 'meter:web_search',
      quantity: 1,
      unitPrice: 10_000_000_000_000n,
      costNano: nano('0.010000000'),
      chargeNano: nano('0.010000000'),
    });
  });

  it('gpt-4o-mini', () => {
    expect(rateOf({ model: 'openai/gpt-4o-mini', usage: { input_tokens: 640, output_tokens: 910 } })).toMatchObject({
      ok: true,
      costNano: nano('0.000642000'),
    });
  });

  it('claude-sonnet-4-5 of a stream cut short', () => {
    expect(rateOf({ provider: 'anthropic', model: 'claude-sonnet-4-5', usage: { input_tokens: 44, output_tokens: 212 } })).toMatchObject({
      ok: true,
      costNano: nano('0.003312000'),
    });
  });

  it('claude-sonnet-4-5 above 200,000 input tokens', () => {
    const usage = { input_tokens: 1, cache_read_tokens: 200_000, output_tokens: 10 };
    expect(rateOf({ provider: 'anthropic', model: 'claude-sonnet-4-5', usage })).toMatchObject({
      ok: true,
      costNano: nano('0.000006000') + nano('0.120000000') + nano('0.000225000'),
    });
  });

  it('gpt-5.5 has its dearer tier from 272,000 input tokens on, as the catalogue lists it', () => {
    expect(rateOf({ model: 'gpt-5.5', usage: { input_tokens: 271_999 } })).toMatchObject({ costNano: nano('1.359995000') });
    expect(rateOf({ model: 'gpt-5.5', usage: { input_tokens: 272_000 } })).toMatchObject({ costNano: nano('2.720000000') });
  });

  it('web search of OpenAI is priced by the search', () => {
    expect(rateOf({ usage: { meters: { web_search: 3 } } })).toMatchObject({ ok: true, costNano: nano('0.030000000') });
  });
});

describe('S5 list prices change on their date', () => {
  it('gpt-5.6 costs less from 21 August 2026, 00:00 UTC', () => {
    const usage = { input_tokens: 1_000_000 - 800_000, output_tokens: 0 };
    expect(rateOf({ model: 'gpt-5.6', usage, at: new Date('2026-08-20T23:59:59.999Z') })).toMatchObject({ costNano: nano('1.000000000') });
    expect(rateOf({ model: 'gpt-5.6', usage, at: new Date('2026-08-21T00:00:00.000Z') })).toMatchObject({ costNano: nano('0.800000000') });
  });

  it('a price of the future waits for it', () => {
    const query = { provider: 'google', model: 'gemini-3.6-flash', usage: { input_tokens: 1_000 } };
    expect(rateOf({ ...query, at: new Date('2026-12-31T23:59:59Z') })).toMatchObject({ costNano: nano('0.000750000') });
    expect(rateOf({ ...query, at: new Date('2027-01-01T00:00:00Z') })).toMatchObject({ costNano: nano('0.001500000') });
  });

  it('a peak price of the day does not reach back before the list it belongs to', () => {
    const query = { provider: 'deepseek', model: 'deepseek-v4-pro', usage: { input_tokens: 1_000_000 } };
    expect(rateOf({ ...query, at: new Date('2026-07-01T02:00:00Z') })).toMatchObject({ costNano: nano('0.435000000') });
    expect(rateOf({ ...query, at: new Date('2026-09-01T02:00:00Z') })).toMatchObject({ costNano: nano('1.320000000') });
    expect(rateOf({ ...query, at: new Date('2026-09-01T05:00:00Z') })).toMatchObject({ costNano: nano('0.660000000') });
    expect(rateOf({ ...query, at: new Date('2026-09-01T04:00:00Z') })).toMatchObject({ costNano: nano('0.660000000') });
  });
});

describe('whose price a name gets', () => {
  it.each([
    ['openai', 'gpt-4o', 'openai', 'gpt-4o'],
    ['openai', 'openai/gpt-4o', 'openai', 'gpt-4o'],
    ['OpenAI', 'GPT-4o', 'openai', 'gpt-4o'],
    [null, 'gpt-4o', 'openai', 'gpt-4o'],
    [null, 'openai/gpt-4o-2024-11-20', 'openai', 'gpt-4o'],
    ['litellm_proxy', 'anthropic/claude-opus-4-6', 'anthropic', 'claude-opus-4-6'],
    ['azure', 'azure/gpt-4o-2024-08-06', 'azure', 'gpt-4o'],
    ['azure', 'azure/global/gpt-4o', 'azure', 'gpt-4o'],
    ['azure_ai', 'azure_ai/claude-opus-4-6', 'azure', 'claude-opus-4-6'],
    ['anthropic', 'claude-opus-4-5-20251101', 'anthropic', 'claude-opus-4-5'],
    ['bedrock', 'bedrock/us.anthropic.claude-opus-4-6-v1:0', 'aws', 'regional.anthropic.claude-opus-4-6-v1:0'],
    ['bedrock_converse', 'bedrock/converse/us-east-1/meta.llama3-3-70b-instruct-v1:0', 'aws', 'meta.llama3-3-70b-instruct-v1:0'],
    [
      'aws.bedrock',
      'arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-sonnet-4-6',
      'aws',
      'regional.anthropic.claude-sonnet-4-6-v1:0',
    ],
    ['vertex_ai', 'vertex_ai/claude-sonnet-4-5@20250929', 'google', 'claude-sonnet-4-5'],
    ['gemini', 'gemini/gemini-2.5-pro-preview-05-06', 'google', 'gemini-2.5-pro'],
    ['google', 'models/gemini-2.5-flash', 'google', 'gemini-2.5-flash'],
    ['google', 'publishers/google/models/gemini-2.0-flash-001', 'google', 'gemini-2.0-flash'],
    ['openrouter', 'openrouter/anthropic/claude-sonnet-4.5', 'openrouter', 'anthropic/claude-sonnet-4.5'],
    ['groq', 'groq/llama-3.3-70b-versatile', 'groq', 'llama-3.3-70b-versatile'],
    ['xai', 'xai/grok-4.3-20260501', 'x-ai', 'grok-4.3'],
  ])('%s %s is %s %s', (provider, model, resolvedProvider, resolvedModel) => {
    expect(rateOf({ provider, model, usage: { input_tokens: 1, output_tokens: 1 } })).toMatchObject({
      ok: true,
      provider: resolvedProvider,
      model: resolvedModel,
    });
  });

  it.each([
    ['anthropic', 'claude-opus-4-5-turbo-x'],
    ['anthropic', 'claude-sonnet-5-5'],
    ['openai', 'gpt-4o-2099-01-01'],
    ['openai', 'gpt-4o-something'],
    ['openai', 'claude-opus-4-6'],
    ['google', 'gemini-3.6-flash-lite'],
    ['google', 'gemini-2.5-pro-preview-tts-x'],
    ['azure', 'azure/eu/gpt-4o'],
    ['azure', 'azure/my-deployment'],
    ['hosted_vllm', 'hosted_vllm/acme-llama-finetune'],
    ['ollama', 'gpt-oss-120b'],
    [null, 'my-own-model'],
    [null, ''],
    ['', '/'],
    ['constructor', '__proto__'],
  ])('%s %s is unpriced, never guessed', (provider, model) => {
    expect(rateOf({ provider, model, usage: TOKENS })).toEqual({ ok: false, reason: 'model_unpriced' });
  });

  it('a model without a price that consumed nothing costs nothing', () => {
    expect(rateOf({ provider: 'hosted_vllm', model: 'acme', usage: { input_tokens: 0, meters: { mcp_tool_calls: 1 } } })).toMatchObject({
      ok: true,
      costNano: 0n,
      lines: [],
      provider: 'hosted_vllm',
      model: 'acme',
    });
  });

  it('names the component that has no price', () => {
    expect(rateOf({ usage: { ...TOKENS, images: 1 } })).toEqual({ ok: false, reason: 'component_unpriced', component: 'images' });
  });
});

describe('aliases', () => {
  const opus = snapshotWith({ aliases: [alias('claude-opus', 'anthropic', 'claude-opus-4-6')] });
  const cost = (model: string): Rating => opus.rate(aQuery({ provider: null, model, usage: TOKENS }));

  it('a set alias prices the name', () => {
    expect(cost('claude-opus')).toMatchObject({ ok: true, provider: 'anthropic', model: 'claude-opus-4-6', costNano: nano('0.007500000') });
    expect(listed.rate(aQuery({ provider: null, model: 'claude-opus', usage: TOKENS }))).toEqual({ ok: false, reason: 'model_unpriced' });
  });

  it('the model that ran is priced as itself, whatever name was asked for', () => {
    const snapshot = snapshotWith({ aliases: [alias('smart', 'anthropic', 'claude-opus-4-6')] });
    expect(snapshot.rate(aQuery({ model: 'gpt-4o', requestedModel: 'smart', usage: TOKENS }))).toMatchObject({ model: 'gpt-4o' });
  });

  it('a set alias of the name asked for prices a deployment nobody knows', () => {
    const snapshot = snapshotWith({ aliases: [alias('smart', 'azure', 'gpt-4o')] });
    expect(snapshot.rate(aQuery({ provider: 'azure', model: 'azure/my-deployment', requestedModel: 'smart', usage: TOKENS }))).toMatchObject({
      provider: 'azure',
      model: 'gpt-4o',
    });
  });

  it('a source has its own meaning of a name', () => {
    const snapshot = snapshotWith({ aliases: [alias('smart', 'openai', 'gpt-4o'), alias('smart', 'openai', 'gpt-4o-mini', { sourceId: 'eu' })] });
    expect(snapshot.rate(aQuery({ provider: null, model: 'smart', sourceId: 'eu', usage: TOKENS }))).toMatchObject({ model: 'gpt-4o-mini' });
    expect(snapshot.rate(aQuery({ provider: null, model: 'smart', sourceId: 'us', usage: TOKENS }))).toMatchObject({ model: 'gpt-4o' });
  });

  it('set wins over learned', () => {
    const snapshot = snapshotWith({
      aliases: [alias('smart', 'anthropic', 'claude-opus-4-6', { sourceId: 'litellm', learned: true }), alias('smart', 'openai', 'gpt-4o')],
    });
    expect(snapshot.rate(aQuery({ provider: null, model: 'smart', usage: TOKENS }))).toMatchObject({ model: 'gpt-4o' });
  });

  it('of several learned deployments the dearest is taken', () => {
    const learned = { sourceId: 'litellm', learned: true };
    const aliases = [
      alias('smart', 'openai', 'gpt-4o-mini', learned),
      alias('smart', 'anthropic', 'anthropic/claude-opus-4-6', learned),
      alias('smart', 'hosted_vllm', 'acme', learned),
    ];
    expect(snapshotWith({ aliases }).rate(aQuery({ provider: null, model: 'smart', usage: TOKENS }))).toMatchObject({ model: 'claude-opus-4-6' });
  });

  it('what one source taught never prices an event of another, only a question without a source', () => {
    const snapshot = snapshotWith({ aliases: [alias('smart', 'openai', 'gpt-4o', { sourceId: 'a', learned: true })] });
    const model = (sourceId: string): unknown => snapshot.rate(aQuery({ provider: null, model: 'smart', sourceId, usage: TOKENS }));
    expect(model('a')).toMatchObject({ model: 'gpt-4o' });
    expect(model('')).toMatchObject({ model: 'gpt-4o' });
    expect(model('b')).toEqual({ ok: false, reason: 'model_unpriced' });
  });

  it('a learned alias never prices a model that is known to be another', () => {
    const aliases = [alias('smart', 'openai', 'gpt-4o', { sourceId: 'litellm', learned: true })];
    expect(snapshotWith({ aliases }).rate(aQuery({ provider: 'azure', model: 'azure/my-deployment', requestedModel: 'smart', usage: TOKENS }))).toEqual({
      ok: false,
      reason: 'model_unpriced',
    });
  });
});

describe('overrides', () => {
  it('replace the components they name and leave the rest listed', () => {
    const snapshot = snapshotWith({ overrides: [anOverride({ revision: 2, prices: { input_tokens: '0.000001' } })] });
    expect(snapshot.rate(aQuery({ usage: TOKENS }))).toMatchObject({
      costNano: nano('0.002000000'),
      priceVersion: 'genai-prices-0.1.8/openai/gpt-4o;override:my@2',
    });
  });

  it('price a model no list knows', () => {
    const snapshot = snapshotWith({
      overrides: [anOverride({ provider: 'hosted_vllm', model: 'acme-llama-finetune', prices: { input_tokens: '0.0000001', output_tokens: '0.0000004' } })],
    });
    const rating = snapshot.rate(aQuery({ provider: 'hosted_vllm', model: 'hosted_vllm/acme-llama-finetune', usage: { input_tokens: 90, output_tokens: 40 } }));
    expect(rating).toMatchObject({
      ok: true,
      costNano: nano('0.000025000'),
      provider: 'hosted_vllm',
      model: 'acme-llama-finetune',
      priceVersion: 'override:my@1',
    });
    expect(snapshot.rate(aQuery({ provider: null, model: 'acme-llama-finetune', usage: TOKENS }))).toMatchObject({ provider: 'hosted_vllm' });
  });

  it('of one provider do not price another that resells the model', () => {
    const snapshot = snapshotWith({ overrides: [anOverride({ prices: { input_tokens: '0' } })] });
    expect(snapshot.rate(aQuery({ provider: 'azure', usage: { input_tokens: 1_000 } }))).toMatchObject({ costNano: nano('0.002500000') });
  });

  it('of the very name stand above those of the model', () => {
    const overrides = [
      anOverride({ overrideId: 'model', prices: { input_tokens: '0.000002' } }),
      anOverride({ overrideId: 'name', model: 'gpt-4o-2024-08-06', prices: { input_tokens: '0.000001' } }),
    ];
    const snapshot = snapshotWith({ overrides });
    expect(snapshot.rate(aQuery({ model: 'gpt-4o-2024-08-06', usage: { input_tokens: 1_000 } }))).toMatchObject({ costNano: nano('0.001000000') });
    expect(snapshot.rate(aQuery({ model: 'gpt-4o-2024-11-20', usage: { input_tokens: 1_000 } }))).toMatchObject({ costNano: nano('0.002000000') });
  });

  it('of every model price a meter, also of a call without a model', () => {
    const snapshot = snapshotWith({ overrides: [anOverride({ provider: '*', model: '*', prices: { 'meter:pdf_pages': '0.002' } })] });
    expect(snapshot.rate(aQuery({ usage: { input_tokens: 1_000, meters: { pdf_pages: 2 } } }))).toMatchObject({ costNano: nano('0.006500000') });
    expect(snapshot.rate(aQuery({ provider: null, model: null, usage: { meters: { pdf_pages: 2 } } }))).toMatchObject({
      ok: true,
      costNano: nano('0.004000000'),
      provider: 'unknown',
      model: 'unknown',
      priceVersion: 'override:my@1',
    });
    expect(snapshot.rate(aQuery({ provider: null, model: '*', usage: TOKENS }))).toEqual({ ok: false, reason: 'model_unpriced' });
  });
});

describe('rate cards', () => {
  it('mark up the cost of the tenant of the card', () => {
    const snapshot = snapshotWith({ rateCards: [aRateCard({ markup: '15' })] });
    expect(snapshot.rate(aQuery({ usage: TOKENS, rateCardId: 'std' }))).toMatchObject({
      costNano: nano('0.003500000'),
      chargeNano: nano('0.004025000'),
      priceVersion: 'genai-prices-0.1.8/openai/gpt-4o;card:std@1',
    });
    expect(snapshot.rate(aQuery({ usage: TOKENS }))).toMatchObject({ chargeNano: nano('0.003500000') });
  });

  it('the price of a model stands above the price of everything', () => {
    const prices = [{ model: 'gpt-4o', prices: { input_tokens: '0.00001' } }, { prices: { input_tokens: '0.00005' } }];
    const snapshot = snapshotWith({ rateCards: [aRateCard({ prices })] });
    expect(snapshot.rate(aQuery({ usage: { input_tokens: 1_000 }, rateCardId: 'std' }))).toMatchObject({ chargeNano: nano('0.010000000') });
    expect(snapshot.rate(aQuery({ model: 'gpt-4.1', usage: { input_tokens: 1_000 }, rateCardId: 'std' }))).toMatchObject({ chargeNano: nano('0.050000000') });
  });

  it('a card that does not exist charges the cost and says so', () => {
    expect(listed.rate(aQuery({ usage: TOKENS, rateCardId: 'gone' }))).toMatchObject({
      chargeNano: nano('0.003500000'),
      priceVersion: 'genai-prices-0.1.8/openai/gpt-4o;card:gone@missing',
    });
  });

  it('S5 a changed card counts from the moment it was made', () => {
    const rateCards = [aRateCard({ markup: '10' }), aRateCard({ markup: '20', revision: 2, createdAt: new Date('2026-06-01T00:00:00Z') })];
    const snapshot = snapshotWith({ rateCards });
    const charge = (at: string): Rating => snapshot.rate(aQuery({ usage: { input_tokens: 1_000 }, rateCardId: 'std', at: new Date(at) }));
    expect(charge('2025-01-01T00:00:00Z')).toMatchObject({ chargeNano: nano('0.002750000') });
    expect(charge('2026-05-31T23:59:59.999Z')).toMatchObject({ chargeNano: nano('0.002750000') });
    expect(charge('2026-06-01T00:00:00Z')).toMatchObject({ chargeNano: nano('0.003000000') });
  });
});

describe('a trusted reported cost', () => {
  it('is booked as it is, also for a model without a price', () => {
    expect(rateOf({ provider: 'hosted_vllm', model: 'acme', usage: TOKENS, reportedCostNano: 123n })).toMatchObject({
      ok: true,
      costNano: 123n,
      chargeNano: 123n,
      priceVersion: 'reported',
      provider: 'hosted_vllm',
      model: 'acme',
    });
  });

  it('of 0 is a cost of 0, and a free call charges nothing', () => {
    expect(rateOf({ usage: TOKENS, reportedCostNano: 0n })).toMatchObject({ ok: true, costNano: 0n, lines: [{ component: 'reported_cost' }] });
    expect(rateOf({ usage: TOKENS, reportedCostNano: 5n, free: true })).toMatchObject({ costNano: 5n, chargeNano: 0n });
  });
});
