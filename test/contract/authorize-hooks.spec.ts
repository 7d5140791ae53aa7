/**
 * LiteLLM's guardrail and Portkey's hook without the gateways: what is read, what is answered, and that a mistake never becomes a yes.
 */
import { startTestApi, type ApiAnswer, type TestApi } from '../support/api.js';
import { settleEverything } from '../support/posting.js';
import { QuotaTestApi } from '../support/quota-api.js';

const GUARDRAIL = '/v1/authorize/litellm/beta/litellm_basic_guardrail_api';
const PORTKEY = '/v1/authorize/portkey';
// gpt-4o costs 2.50 and 10.00 per million tokens: 1,000 in and 1,000 out are 0.0125.
const CALL = { model: 'gpt-4o', max_tokens: 1_000, messages: [{ role: 'user', content: 'x'.repeat(2_984) }] };

describe('authorize for gateways that ask by hook', () => {
  let api: TestApi;
  let quota: QuotaTestApi;
  let key: string;
  beforeAll(async () => {
    api = await startTestApi();
    quota = new QuotaTestApi(api);
    key = await api.makeKey({ scopes: ['authorize'] });
  });
  afterAll(async () => await api.close());

  const ask = async (path: string, headers: Record<string, string>, body?: unknown, method = 'POST'): Promise<ApiAnswer> =>
    await api.call(method, path, { key, headers, ...(body === undefined ? {} : { body }) });
  const spend = async (tenantId: string, costUsd: string): Promise<void> => {
    const { body } = await quota.askFor(tenantId, costUsd);
    await api.call('POST', `/v1/holds/${body.hold.hold_id}/settle`, { body: { cost_usd: costUsd } });
    await settleEverything(api.app);
  };

  describe('LiteLLM generic guardrail', () => {
    const question = (tenantId: string | null, more: object = {}): object => ({
      input_type: 'request',
      litellm_call_id: 'call',
      texts: ['x'.repeat(3_000)],
      request_data: {},
      request_headers: tenantId === null ? {} : { 'x-tenant-id': tenantId, authorization: '[present]' },
      additional_provider_specific_params: { max_output_tokens: 1_000 },
      model: 'gpt-4o',
      ...more,
    });
    const guard = async (body: unknown): Promise<any> => {
      const answer = await api.call('POST', GUARDRAIL, { key: null, headers: { 'x-api-key': key }, body });
      expect(answer.status).toBe(200);
      return answer.body;
    };

    it('passes what fits and holds it under the call id that the report will carry', async () => {
      const tenantId = await quota.makeTenant();
      expect(await guard(question(tenantId, { litellm_call_id: 'guarded' }))).toEqual({ action: 'NONE' });
      expect((await quota.balanceOf(tenantId)).held_usd).toBe('0.012500000');
      await quota.report({ event_id: 'guarded', tenant_id: tenantId, call_id: 'guarded', usage: { input_tokens: 1_000, output_tokens: 100 } });
      expect(await quota.balanceOf(tenantId)).toMatchObject({ held_usd: '0.000000000', posted_usd: '0.996500000' });
    });

    it('blocks with the reason; a cheaper model is no way out, because this dialect cannot say it', async () => {
      const tenantId = await quota.makeTenant({}, '0.01');
      await api.call('PUT', `/v1/tenants/${tenantId}/routes`, { body: { 'gpt-4o': ['gpt-4o-mini'] } });
      expect(await guard(question(tenantId))).toEqual({ action: 'BLOCKED', blocked_reason: expect.stringMatching(/^too_large: /) });
      expect((await quota.balanceOf(tenantId)).held_usd).toBe('0.000000000');
    });

    it('what LiteLLM shows of an answer passes, and holds nothing', async () => {
      const tenantId = await quota.makeTenant();
      expect(await guard(question(tenantId, { input_type: 'response' }))).toEqual({ action: 'NONE' });
      expect((await quota.balanceOf(tenantId)).held_usd).toBe('0.000000000');
    });

    it('finds the tenant where the report will: spend-logs metadata, header, team of the key; never in a value that was withheld', async () => {
      const suspended = await quota.makeTenant({ status: 'suspended' });
      const blocked = { action: 'BLOCKED', blocked_reason: expect.stringContaining('tenant_suspended') };
      expect(await guard(question(null, { request_data: { user_api_key_team_id: suspended } }))).toEqual(blocked);
      expect(await guard(question(null, { request_headers: { 'x-litellm-spend-logs-metadata': JSON.stringify({ tenant_id: suspended }) } }))).toEqual(blocked);
      expect(await guard(question(null, { additional_provider_specific_params: { tenant_id: suspended } }))).toEqual(blocked);
      expect(await guard(question('[present]'))).toEqual({ action: 'NONE' });
      expect((await api.call('GET', `/v1/tenants/${encodeURIComponent('[present]')}`)).status).toBe(404);
      await api.call('PUT', '/v1/sources/second-proxy', { body: { gateway: 'litellm', attribution: { tenant_id: ['tag:x-org'] } } });
      const bound = await api.makeKey({ scopes: ['authorize'], source_id: 'second-proxy' });
      const own = await api.call('POST', GUARDRAIL, {
        key: bound,
        body: question('anybody', { request_headers: { 'x-org': suspended, 'x-tenant-id': 'anybody' } }),
      });
      expect(own.body).toEqual(blocked);
    });

    it('a call id that was used before does not stop another call: it gets a hold of its own', async () => {
      const tenantId = await quota.makeTenant();
      for (const model of ['gpt-4o', 'gpt-4o-mini']) expect(await guard(question(tenantId, { litellm_call_id: 'twice', model }))).toEqual({ action: 'NONE' });
      expect(Number((await quota.balanceOf(tenantId)).held_usd)).toBeGreaterThan(0.0125);
    });

    it.each([
      ['no JSON', 'nonsense'],
      ['a list', '[]'],
      ['a key that walks into prototypes', '{"input_type": "request", "__proto__": {"input_type": "response"}}'],
    ])('a question that is %s blocks: it never becomes a yes', async (_what, body) => {
      expect(await guard(body)).toEqual({ action: 'BLOCKED', blocked_reason: expect.stringMatching(/^request\.unreadable: /) });
    });

    it('a tenant that is no id blocks', async () => {
      expect(await guard(question(null, { request_headers: { 'x-tenant-id': 't'.repeat(200) } }))).toMatchObject({ action: 'BLOCKED' });
    });
  });

  describe('Portkey', () => {
    const hook = (tenantId: string | null, more: object = {}): object => ({
      request: { json: CALL, text: 'x', isStreamingRequest: false, isTransformed: false },
      response: { json: {}, text: '', statusCode: null, isTransformed: false },
      provider: 'openai',
      requestType: 'chatComplete',
      metadata: tenantId === null ? {} : { tenant_id: tenantId },
      eventType: 'beforeRequestHook',
      ...more,
    });

    it('says yes with the hold, and sends nothing else in place of the request', async () => {
      const tenantId = await quota.makeTenant();
      const { body } = await ask(PORTKEY, {}, hook(tenantId));
      expect(body).toEqual({
        verdict: true,
        data: {
          decision: 'allow',
          reason: { code: 'ok', message: expect.any(String), retry_after_ms: null },
          model: 'gpt-4o',
          max_output_tokens: 1_000,
          hold_id: expect.stringMatching(/^hold_/),
        },
      });
    });

    it('swaps the model on a downgrade and leaves the rest of the request alone', async () => {
      const tenantId = await quota.makeTenant({}, '0.01');
      await api.call('PUT', `/v1/tenants/${tenantId}/routes`, { body: { 'gpt-4o': ['claude-3-5-haiku-latest', 'gpt-4o-mini'] } });
      const { body } = await ask(PORTKEY, {}, hook(tenantId));
      expect(body).toMatchObject({ verdict: true, data: { decision: 'downgrade', model: 'gpt-4o-mini' } });
      expect(body.transformedData).toEqual({ request: { json: { ...CALL, model: 'gpt-4o-mini' } } });
    });

    it('shortens the answer to what fits', async () => {
      const tenantId = await quota.makeTenant({}, '0.01');
      const { body } = await ask(PORTKEY, {}, hook(tenantId));
      expect(body).toMatchObject({ verdict: true, data: { decision: 'allow' } });
      expect(body.transformedData.request.json.max_tokens).toBe(body.data.max_output_tokens);
      expect(body.data.max_output_tokens).toBeLessThan(1_000);
    });

    it('says no with a reason and without a secret: its client reads it', async () => {
      const tenantId = await quota.makeTenant();
      await spend(tenantId, '1.00');
      const { status, body } = await ask(PORTKEY, {}, hook(tenantId));
      expect([status, body.verdict, body.data.reason.code]).toEqual([200, false, 'insufficient_funds']);
      expect(Object.keys(body.data).sort()).toEqual(['decision', 'hold_id', 'max_output_tokens', 'model', 'reason']);
    });

    it.each([
      ['is no JSON', 'nonsense'],
      ['has a broken tenant', JSON.stringify({ eventType: 'beforeRequestHook', metadata: { tenant_id: ' x ' }, request: { json: CALL } })],
    ])('a hook that %s is a no, because Portkey may take an error for a yes', async (_what, body) => {
      expect(await ask(PORTKEY, {}, body)).toMatchObject({ status: 200, body: { verdict: false } });
    });

    it('what it shows of an answer passes', async () => {
      expect((await ask(PORTKEY, {}, hook('nobody', { eventType: 'afterRequestHook' }))).body).toEqual({ verdict: true });
    });

    it('a second target of a fallback is asked for by itself', async () => {
      const tenantId = await quota.makeTenant();
      const metadata = { tenant_id: tenantId, call_id: 'fallback' };
      for (const model of ['gpt-4o', 'gpt-4o-mini']) {
        const { body } = await ask(PORTKEY, {}, hook(null, { metadata, request: { json: { ...CALL, model } } }));
        expect(body).toMatchObject({ verdict: true, data: { model } });
      }
    });
  });
});
