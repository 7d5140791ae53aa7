/**
 * Gateways that ask by header, without the gateways: what is read, what is answered, whose key is taken.
 */
import { once } from 'node:events';
import { request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import { startTestApi, type ApiAnswer, type TestApi } from '../support/api.js';
import { settleEverything, sweepHolds } from '../support/posting.js';
import { QuotaTestApi } from '../support/quota-api.js';

const FORWARD = '/v1/authorize/forward/v1/chat/completions';
const NGINX = '/v1/authorize/nginx';
// gpt-4o costs 2.50 and 10.00 per million tokens: 1,000 in and 1,000 out are 0.0125.
const CALL = { model: 'gpt-4o', max_tokens: 1_000, messages: [{ role: 'user', content: 'x'.repeat(2_984) }] };

describe('authorize for gateways that ask by header', () => {
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
  const said = (answer: ApiAnswer): Record<string, string> =>
    Object.fromEntries([...answer.headers].filter(([name]) => name.startsWith('x-tollgate-') || name === 'retry-after'));
  const of = (tenantId: string, more: Record<string, string> = {}): Record<string, string> => ({ 'x-tollgate-tenant-id': tenantId, ...more });
  const spend = async (tenantId: string, costUsd: string): Promise<void> => {
    const { body } = await quota.askFor(tenantId, costUsd);
    await api.call('POST', `/v1/holds/${body.hold.hold_id}/settle`, { body: { cost_usd: costUsd } });
    await settleEverything(api.app);
  };

  describe('forward (Envoy, Traefik, APISIX)', () => {
    it('allows with the hold in headers, its size read from the body, and releases the hold when nobody reports the call', async () => {
      const tenantId = await quota.makeTenant();
      const answer = await ask(FORWARD, of(tenantId, { 'x-tollgate-feature': 'chat', 'x-tollgate-call-id': 'c-1' }), CALL);
      expect(answer.status).toBe(200);
      expect(said(answer)).toEqual({
        'x-tollgate-decision': 'allow',
        'x-tollgate-reason': 'ok',
        'x-tollgate-model': 'gpt-4o',
        'x-tollgate-max-output-tokens': '1000',
        'x-tollgate-hold-id': expect.stringMatching(/^hold_/),
        'x-tollgate-available-usd': '0.987500000',
      });
      expect(answer.body).toMatchObject({ decision: 'allow', hold: { amount_usd: '0.012500000' } });
      expect((await quota.balanceOf(tenantId)).held_usd).toBe('0.012500000');
      api.clock.advance(16 * 60_000);
      await sweepHolds(api.app);
      await settleEverything(api.app);
      expect(await quota.balanceOf(tenantId)).toMatchObject({ held_usd: '0.000000000', unresolved_usd: '0.012500000', posted_usd: '1.000000000' });
    });

    it.each(['GET', 'PUT', 'DELETE', 'PATCH', 'OPTIONS'])('answers %s, which gateways use for the question or pass on from the client', async (method) => {
      const tenantId = await quota.makeTenant();
      const headers = of(tenantId, { 'x-tollgate-model': 'gpt-4o', 'x-tollgate-input-tokens': '1000', 'x-tollgate-max-output-tokens': '1000' });
      const answer = await ask('/v1/authorize/forward', headers, undefined, method);
      expect([answer.status, answer.headers.get('x-tollgate-available-usd')]).toEqual([200, '0.987500000']);
    });

    // The shapes below are those of the gateways' sources; neither program comes in a package that a test could run.
    it('reads the question as Traefik puts it: GET, the client’s body in chunks, its request in X-Forwarded-*', async () => {
      const tenantId = await quota.makeTenant();
      const made = await api.call('POST', `/v1/tenants/${tenantId}/keys`, { body: { name: 'app' } });
      await api.call('PUT', '/v1/sources/traefik', { body: { gateway: 'api', authorize_headers: { api_key: 'authorization' } } });
      const headers = ['x-tollgate-key', await api.makeKey({ scopes: ['authorize'], source_id: 'traefik' }), 'authorization', `Bearer ${made.body.key}`];
      const forwarded = ['x-forwarded-for', '10.0.0.1', 'x-forwarded-method', 'POST', 'x-forwarded-proto', 'https', 'x-forwarded-uri', '/v1/chat/completions'];
      const chunked = ['transfer-encoding', 'chunked', 'content-type', 'application/json', 'user-agent', 'Go-http-client/1.1'];
      const answer = await sendRaw(`${api.url}/v1/authorize/forward`, [...headers, ...forwarded, ...chunked], JSON.stringify(CALL));
      expect([answer.status, answer.headers['x-tollgate-max-output-tokens'], answer.headers['x-tollgate-available-usd']]).toEqual([200, '1000', '0.987500000']);
    });

    it('reads the question as APISIX puts it: POST with the body, listed headers, its request in X-Forwarded-*', async () => {
      const tenantId = await quota.makeTenant();
      const forwarded = { 'x-forwarded-proto': 'http', 'x-forwarded-method': 'POST', 'x-forwarded-host': 'api', 'x-forwarded-uri': '/v1/chat/completions' };
      const answer = await ask('/v1/authorize/forward', of(tenantId, { ...forwarded, 'x-tollgate-provider': 'openai' }), CALL);
      expect([answer.status, answer.headers.get('x-tollgate-available-usd')]).toEqual([200, '0.987500000']);
    });

    it('names a cheaper model on a downgrade, and blocks instead where the gateway says that it cannot follow', async () => {
      const tenantId = await quota.makeTenant({}, '0.01');
      await api.call('PUT', `/v1/tenants/${tenantId}/routes`, { body: { 'gpt-4o': ['gpt-4o-mini'] } });
      const followed = await ask(FORWARD, of(tenantId), CALL);
      expect([followed.status, said(followed)]).toMatchObject([200, { 'x-tollgate-decision': 'downgrade', 'x-tollgate-model': 'gpt-4o-mini' }]);
      const never = await ask(FORWARD, of(tenantId, { 'x-tollgate-downgrade': 'never' }), CALL);
      expect([never.status, said(never)]).toMatchObject([402, { 'x-tollgate-decision': 'block', 'x-tollgate-reason': 'too_large' }]);
    });

    it('says 402 when the money is gone, with a problem that names the reason', async () => {
      const tenantId = await quota.makeTenant();
      await spend(tenantId, '1.00');
      const answer = await ask(FORWARD, of(tenantId), CALL);
      expect(answer.status).toBe(402);
      expect(answer.headers.get('content-type')).toContain('application/problem+json');
      expect(answer.body).toMatchObject({ status: 402, code: 'quota.insufficient_funds', title: 'Payment required' });
      expect(said(answer)).toMatchObject({ 'x-tollgate-decision': 'block', 'x-tollgate-available-usd': '0.000000000' });
      expect(answer.headers.get('retry-after')).toBeNull();
    });

    it('says 429 with Retry-After for windows and for money that running calls hold', async () => {
      const limited = await quota.makeTenant({}, '10');
      await api.call('PUT', `/v1/tenants/${limited}/budgets/minute`, { body: { period: { rolling_seconds: 60 }, limit_requests: 1 } });
      expect((await ask(FORWARD, of(limited), CALL)).status).toBe(200);
      const windowed = await ask(FORWARD, of(limited), CALL);
      expect([windowed.status, windowed.headers.get('x-tollgate-reason')]).toEqual([429, 'rate_limited']);
      expect(Number(windowed.headers.get('retry-after'))).toBeGreaterThan(0);
      const busy = await quota.makeTenant({}, '0.02');
      expect((await ask(FORWARD, of(busy), CALL)).status).toBe(200);
      const held = await ask(FORWARD, of(busy, { 'x-tollgate-downgrade': 'never' }), CALL);
      expect([held.status, said(held)]).toMatchObject([429, { 'x-tollgate-reason': 'in_flight_exhausted', 'retry-after': '1' }]);
    });

    it('says 403 for tenants that may not call, and lets a call without tenant pass as the contract has it', async () => {
      const suspended = await quota.makeTenant({ status: 'suspended' });
      expect((await ask(FORWARD, of(suspended), CALL)).body).toMatchObject({ status: 403, code: 'quota.tenant_suspended' });
      await api.call('PUT', '/v1/sources/gated', { body: { gateway: 'api', on_new_tenant: 'block' } });
      const gated = await api.makeKey({ scopes: ['authorize'], source_id: 'gated' });
      const unknown = await api.call('POST', FORWARD, { key: gated, headers: of('nobody-knows'), body: CALL });
      expect([unknown.status, unknown.headers.get('x-tollgate-reason')]).toEqual([403, 'tenant_unknown']);
      const nobody = await ask(FORWARD, {}, CALL);
      expect([nobody.status, nobody.headers.get('x-tollgate-reason')]).toEqual([200, 'tenant_missing']);
      const unpriced = await ask(FORWARD, of(await quota.makeTenant()), { ...CALL, model: 'no-such-model' });
      expect([unpriced.status, unpriced.headers.get('x-tollgate-reason')]).toEqual([403, 'model_unpriced']);
    });

    it('a known "no" is never a 5xx, which a gateway may take for a yes: not even when the quota state is out of reach', async () => {
      const own = await startTestApi();
      try {
        const world = new QuotaTestApi(own);
        const tenantId = await world.makeTenant({ on_store_failure: 'block' });
        own.fence.lose();
        const answer = await own.call('POST', FORWARD, { headers: of(tenantId), body: CALL });
        expect([answer.status, answer.headers.get('x-tollgate-reason'), answer.headers.get('retry-after')]).toEqual([429, 'store_unavailable', '1']);
      } finally {
        await own.close();
      }
    });

    it.each([
      ['no JSON', 'no json at all', 'text/plain'],
      ['a form', '--b\r\ncontent-disposition: form-data; name="model"\r\n\r\ngpt-4o\r\n--b--', 'multipart/form-data; boundary=b'],
      ['broken UTF-8', Buffer.from([0x7b, 0xff, 0xfe]), 'application/json'],
      ['a list', '[1, 2]', 'application/json'],
      ['a type that is none', '{}', 'what is this'],
      ['nothing', '', 'application/json'],
      ['deep nesting', '['.repeat(5_000), 'application/json'],
    ])('a body that is %s is no error: the call is asked for by its headers', async (_what, body, type) => {
      const tenantId = await quota.makeTenant();
      const answer = await ask(FORWARD, of(tenantId, { 'content-type': type, 'x-tollgate-model': 'gpt-4o' }), body);
      expect([answer.status, answer.headers.get('x-tollgate-model')]).toEqual([200, 'gpt-4o']);
    });

    it('a compressed body is not read, and not refused', async () => {
      const tenantId = await quota.makeTenant();
      const answer = await ask(FORWARD, of(tenantId, { 'content-encoding': 'gzip', 'x-tollgate-model': 'gpt-4o' }), Buffer.from([0x1f, 0x8b, 0x08, 0x00]));
      expect(answer.status).toBe(200);
    });

    it('a body that was cut still says its model and its limit, and counts for what came', async () => {
      const tenantId = await quota.makeTenant();
      const cut = `{"model": "gpt-4o", "max_tokens": 1000, "messages": [{"role": "user", "content": "${'x'.repeat(3_000)}`;
      const answer = await ask(FORWARD, of(tenantId, { 'x-envoy-auth-partial-body': 'true' }), cut);
      const expected = Math.ceil(cut.length / 3);
      expect([answer.status, answer.body.model, answer.body.max_output_tokens]).toEqual([200, 'gpt-4o', 1_000]);
      expect(answer.body.estimate.cost_usd).toBe(`0.0${String(expected * 2_500 + 10_000_000).padStart(8, '0')}`);
    });

    it('a header wins over the body, and embeddings hold nothing for an answer', async () => {
      const tenantId = await quota.makeTenant();
      const wins = await ask(FORWARD, of(tenantId, { 'x-tollgate-model': 'gpt-4o-mini', 'x-tollgate-max-output-tokens': '10' }), CALL);
      expect(wins.body).toMatchObject({ model: 'gpt-4o-mini', max_output_tokens: 10 });
      const body = { model: 'text-embedding-3-small', input: 'x'.repeat(3_000) };
      for (const [path, more] of [
        ['/v1/authorize/forward/v1/embeddings', {}],
        ['/v1/authorize/forward', { 'x-forwarded-uri': '/v1/embeddings?x=1' }],
      ] as const)
        expect((await ask(path, of(tenantId, { 'x-tollgate-provider': 'openai', ...more }), body)).body).toMatchObject({
          max_output_tokens: 0,
          decision: 'allow',
        });
    });

    it.each([
      ['x-tollgate-input-tokens', 'many'],
      ['x-tollgate-input-tokens', '-1'],
      ['x-tollgate-max-output-tokens', '1e3'],
      ['x-tollgate-estimated-cost-usd', '0.1.2'],
      ['x-tollgate-priority', 'urgent'],
      ['x-tollgate-downgrade', 'perhaps'],
      ['x-tollgate-user-id', 'u'.repeat(129)],
    ])('%s: %s is refused with 400 that names the header', async (header, value) => {
      const answer = await ask(FORWARD, of(await quota.makeTenant(), { [header]: value }), CALL);
      expect([answer.status, answer.body.code, answer.body.errors.map(({ path }: { path: string }) => path)]).toEqual([
        400,
        'request.invalid_header',
        [header],
      ]);
      expect(answer.body.detail).toContain(header);
    });

    it('a tenant said twice is refused: nobody can add his own behind the gateway', async () => {
      const [mine, theirs] = [await quota.makeTenant(), await quota.makeTenant()];
      const { status, text } = await sendRaw(`${api.url}${FORWARD}`, [
        'authorization',
        `Bearer ${key}`,
        'x-tollgate-tenant-id',
        mine,
        'x-tollgate-tenant-id',
        theirs,
      ]);
      expect([status, JSON.parse(text).errors]).toEqual([400, [{ path: 'x-tollgate-tenant-id', message: 'must be sent once' }]]);
    });

    it('ids of any script arrive and leave as they are', async () => {
      const name = 'größe-模型';
      await api.call('PUT', '/v1/price-overrides/unicode', { body: { provider: 'own', model: name, input_usd_per_million: '1', output_usd_per_million: '1' } });
      await api.call('PUT', `/v1/tenants/${encodeURIComponent('mieter-ü')}`, { body: { enforcement: 'off' } });
      const asBytes = (text: string): string => Buffer.from(text, 'utf8').toString('latin1');
      const { status, headers } = await sendRaw(`${api.url}${FORWARD}`, [
        'authorization',
        `Bearer ${key}`,
        'x-tollgate-tenant-id',
        asBytes('mieter-ü'),
        'x-tollgate-model',
        asBytes(name),
      ]);
      expect([status, Buffer.from(String(headers['x-tollgate-model']), 'latin1').toString('utf8')]).toEqual([200, name]);
    });

    it('a key of one tenant cannot ask for another, and asks for its own without naming it', async () => {
      const [mine, theirs] = [await quota.makeTenant(), await quota.makeTenant()];
      const bound = await api.makeKey({ scopes: ['authorize'], tenant_id: mine });
      expect((await api.call('POST', FORWARD, { key: bound, headers: of(theirs), body: CALL })).status).toBe(403);
      expect((await api.call('POST', FORWARD, { key: bound, body: CALL })).headers.get('x-tollgate-available-usd')).toBe('0.987500000');
    });

    it('a call id that was settled is a conflict, as in POST /v1/authorize', async () => {
      const tenantId = await quota.makeTenant();
      const first = await ask(FORWARD, of(tenantId, { 'x-tollgate-call-id': 'once' }), CALL);
      await api.call('POST', `/v1/holds/${first.headers.get('x-tollgate-hold-id')}/release`, { body: {} });
      const again = await ask(FORWARD, of(tenantId, { 'x-tollgate-call-id': 'once' }), CALL);
      expect([again.status, again.body.code]).toEqual([409, 'quota.call_already_settled']);
    });
  });

  describe('names of headers per source', () => {
    it('a source names its own headers; the built-in name of that field then says nothing', async () => {
      const [mine, theirs] = [await quota.makeTenant(), await quota.makeTenant({}, '5')];
      const put = await api.call('PUT', '/v1/sources/edge', { body: { gateway: 'api', authorize_headers: { tenant_id: 'x-team', api_key: 'authorization' } } });
      expect(put.body.authorize_headers).toEqual({ tenant_id: 'x-team', api_key: 'authorization' });
      const edge = await api.makeKey({ scopes: ['authorize'], source_id: 'edge' });
      const headers = { 'x-tollgate-key': edge, 'x-team': mine, 'x-tollgate-tenant-id': theirs, 'x-tollgate-model': 'gpt-4o' };
      const answer = await api.call('POST', FORWARD, { key: null, headers, body: CALL });
      expect([answer.status, answer.headers.get('x-tollgate-available-usd')]).toEqual([200, '0.987500000']);
      const made = await api.call('POST', `/v1/tenants/${theirs}/keys`, { body: { name: 'app' } });
      const byKey = await api.call('POST', FORWARD, { key: made.body.key, headers: { 'x-tollgate-key': edge }, body: CALL });
      expect([byKey.status, byKey.headers.get('x-tollgate-available-usd')]).toEqual([200, '4.987500000']);
      const { body: audit } = await api.call('GET', '/v1/audit?entity=source&limit=500');
      expect(JSON.stringify(audit.data)).toContain('"authorize_headers":{"api_key":"authorization","tenant_id":"x-team"}');
    });

    it.each([
      [{ tenant_id: 'X-Team' }, 'authorize_headers.tenant_id'],
      [{ user_id: 'cookie' }, 'authorize_headers.user_id'],
      [{ user_id: 'authorization' }, 'authorize_headers.user_id'],
      [{ api_key: 'x-tollgate-key' }, 'authorize_headers.api_key'],
      [{ tenant: 'x-team' }, 'authorize_headers.tenant'],
    ])('%j is refused where it is set', async (authorize_headers, path) => {
      const { status, body } = await api.call('PUT', '/v1/sources/edge-refused', { body: { gateway: 'api', authorize_headers } });
      expect([status, body.errors[0].path]).toEqual([400, path]);
    });
  });

  describe('keys', () => {
    it('takes x-tollgate-key before the client’s Authorization, and x-api-key where nothing else is sent', async () => {
      for (const headers of [
        { 'x-tollgate-key': key, authorization: 'Bearer sk-of-a-provider' },
        { 'x-api-key': key },
        { authorization: `Bearer ${key}` },
      ] as Record<string, string>[])
        expect((await api.call('POST', FORWARD, { key: null, headers, body: CALL })).status).toBe(200);
      const wrong = await api.call('POST', FORWARD, { key: null, headers: { 'x-tollgate-key': 'tg_live_x_y', authorization: `Bearer ${key}` }, body: CALL });
      expect(wrong.status).toBe(401);
    });

    it('takes neither header on the plain route, nor an admin key from them, nor a key of another scope', async () => {
      expect((await api.call('POST', '/v1/authorize', { key: null, headers: { 'x-api-key': key }, body: {} })).status).toBe(401);
      const admin = await api.makeKey({ scopes: ['admin'] });
      for (const header of ['x-api-key', 'x-tollgate-key'])
        expect((await api.call('POST', FORWARD, { key: null, headers: { [header]: admin } })).status).toBe(403);
      expect((await api.call('POST', FORWARD, { key: null, headers: { 'x-tollgate-key': await api.makeKey({ scopes: ['ingest'] }) } })).status).toBe(403);
      expect((await api.call('POST', FORWARD, { key: null })).status).toBe(401);
    });
  });

  describe('nginx', () => {
    it('says 204, or 403 with the status for the client', async () => {
      const tenantId = await quota.makeTenant({}, '0.02');
      const headers = of(tenantId, {
        'x-tollgate-model': 'gpt-4o',
        'x-tollgate-input-tokens': '1000',
        'x-tollgate-max-output-tokens': '1000',
        'x-tollgate-downgrade': 'never',
      });
      const allowed = await ask(NGINX, headers, undefined, 'GET');
      expect([allowed.status, allowed.body, said(allowed)]).toMatchObject([204, '', { 'x-tollgate-decision': 'allow', 'x-tollgate-model': 'gpt-4o' }]);
      const held = await ask(NGINX, headers, undefined, 'GET');
      expect([held.status, said(held)]).toMatchObject([403, { 'x-tollgate-status': '429', 'x-tollgate-reason': 'in_flight_exhausted', 'retry-after': '1' }]);
      const large = await ask(NGINX, { ...headers, 'x-tollgate-max-output-tokens': '9000' }, undefined, 'GET');
      expect([large.status, large.headers.get('x-tollgate-status')]).toEqual([403, '402']);
      const suspended = await ask(NGINX, of(await quota.makeTenant({ status: 'suspended' })), undefined, 'GET');
      expect([suspended.status, suspended.headers.get('x-tollgate-status')]).toEqual([403, '403']);
      const malformed = await ask(NGINX, { ...headers, 'x-tollgate-input-tokens': 'x' }, undefined, 'GET');
      expect([malformed.status, malformed.headers.get('x-tollgate-status'), malformed.body.code]).toEqual([403, '400', 'request.invalid_header']);
    });
  });

  it('the document describes every dialect, its headers and its statuses', async () => {
    const { body } = await api.call('GET', '/openapi.json', { key: null });
    const forward = body.paths['/v1/authorize/forward'].get;
    expect(Object.keys(forward.responses)).toEqual(expect.arrayContaining(['200', '402', '403', '429']));
    expect(forward.parameters.map(({ name }: { name: string }) => name)).toContain('x-tollgate-tenant-id');
    for (const path of [NGINX, '/v1/authorize/litellm/beta/litellm_basic_guardrail_api', '/v1/authorize/portkey']) expect(body.paths[path]).toBeDefined();
  });
});

async function sendRaw(url: string, headers: string[], body?: string): Promise<{ status: number; headers: IncomingHttpHeaders; text: string }> {
  const sent = httpRequest(url, { method: 'GET', headers: ['host', new URL(url).host, ...headers] });
  sent.end(body);
  const [response] = (await once(sent, 'response')) as [import('node:http').IncomingMessage];
  const parts: Buffer[] = [];
  for await (const part of response) parts.push(part as Buffer);
  return { status: response.statusCode ?? 0, headers: response.headers, text: Buffer.concat(parts).toString('utf8') };
}
