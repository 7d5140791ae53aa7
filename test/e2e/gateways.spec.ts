/**
 * Real gateways in front of a real Tollgate and a provider of our own, with the configuration we ship: each is allowed, sent to a cheaper
 * model where it can say that, and blocked with the status it can say; and without Tollgate no call passes.
 */
import { eventually } from '../support/eventually.js';
import {
  addressOf,
  deadAddress,
  describeWithEnvoy,
  describeWithNginx,
  describeWithPortkey,
  portkeyConfig,
  startEnvoy,
  startNginx,
  startPortkey,
  type Addresses,
  type Gateway,
} from '../support/gateways.js';
import { cleanUpPrograms, startStandalone, type Program } from '../support/standalone.js';
import { startUpstream, type Upstream } from '../support/upstream.js';

const START_TIMEOUT_MS = 120_000;
// At most 0.001 dollars of gpt-4o's answer, 0.00006 of gpt-4o-mini's.
const CALL = { model: 'gpt-4o', max_tokens: 100, messages: [{ role: 'user', content: 'Does the contract renew?' }] };
const LARGE = { ...CALL, max_tokens: 4_096 };

let tollgate: Program;
let provider: Upstream;
let cheaper: Upstream;
let addresses: Addresses;

beforeAll(async () => {
  [tollgate, provider, cheaper] = await Promise.all([startStandalone(), startUpstream(), startUpstream()]);
  addresses = { tollgate: addressOf(tollgate.url), provider: addressOf(provider.url), cheaper: addressOf(cheaper.url) };
}, START_TIMEOUT_MS);

afterAll(async () => {
  await cleanUpPrograms();
  await Promise.all([provider?.close(), cheaper?.close()]);
}, START_TIMEOUT_MS);

async function admin(method: string, path: string, body: unknown): Promise<any> {
  const answer = await tollgate.call(method, path, body);
  if (answer.status >= 300) throw new Error(`${method} ${path}: ${JSON.stringify(answer.body)}`);
  return answer.body;
}

/** rich may call; tight has money for a small call or a cheaper model; broke has none; closed is suspended; busy has one call at a time. */
async function makeTenants(prefix: string): Promise<void> {
  for (const [name, settings, credit] of [
    ['rich', {}, '10'],
    ['tight', {}, '0.01'],
    ['broke', {}, null],
    ['closed', { status: 'suspended' }, null],
    ['busy', {}, '10'],
  ] as const) {
    await admin('PUT', `/v1/tenants/${prefix}-${name}`, settings);
    if (credit !== null) await admin('POST', `/v1/tenants/${prefix}-${name}/credits`, { amount_usd: credit, kind: 'paid' });
  }
  await admin('PUT', `/v1/tenants/${prefix}-tight/routes`, { 'gpt-4o': ['gpt-4o-mini'] });
  await admin('PUT', `/v1/tenants/${prefix}-busy/budgets/one-call`, { period: 'day', limit_concurrent: 1 });
}

async function makeKey(more: object = {}): Promise<string> {
  return (await admin('POST', '/v1/service-keys', { name: 'gateway', scopes: ['authorize'], ...more })).key as string;
}

interface Said {
  readonly status: number;
  readonly headers: Headers;
  readonly body: any;
}

async function call(gateway: Gateway, headers: Record<string, string>, body: object = CALL): Promise<Said> {
  const response = await fetch(`${gateway.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  });
  const text = await response.text();
  return { status: response.status, headers: response.headers, body: text.startsWith('{') ? JSON.parse(text) : text };
}

/** Reports a call as its application does, and waits until its cost has taken the hold's place. */
async function report(tenantId: string, hold: object): Promise<void> {
  const usage = { input_tokens: 10, output_tokens: 10 };
  await admin('POST', '/v1/events', { event_id: `of-${tenantId}`, tenant_id: tenantId, provider: 'openai', model: 'gpt-4o', usage, ...hold });
  await eventually('the hold is closed', async () => (await tollgate.call('GET', `/v1/tenants/${tenantId}/balance`)).body.held_usd === '0.000000000');
  expect((await tollgate.call('GET', `/v1/tenants/${tenantId}/balance`)).body.posted_usd).toBe('9.999875000');
}

describeWithNginx('a real nginx', () => {
  let nginx: Gateway;
  const as = (name: string): Record<string, string> => ({ authorization: `Bearer key-of-${name}`, 'x-max-output-tokens': '100' });

  beforeAll(async () => {
    await makeTenants('nginx');
    const clients = Object.fromEntries(['rich', 'tight', 'broke', 'closed', 'busy'].map((name) => [`key-of-${name}`, `nginx-${name}`]));
    nginx = await startNginx(addresses, await makeKey(), clients);
  }, START_TIMEOUT_MS);
  afterAll(async () => await nginx?.close());

  it('lets a call pass that fits, and the report with its call id closes the hold', async () => {
    expect((await call(nginx, as('rich'))).status).toBe(200);
    const { headers } = provider.calls.at(-1)!;
    expect(headers).toMatchObject({
      'x-tollgate-hold-id': expect.stringMatching(/^hold_/),
      'x-tollgate-model': 'gpt-4o',
      'x-tollgate-max-output-tokens': '100',
    });
    await report('nginx-rich', { call_id: headers['x-tollgate-call-id'] });
  });

  it('sends a downgraded call to the cheaper models, with the model to run', async () => {
    const before = provider.calls.length;
    expect((await call(nginx, { ...as('tight'), 'x-max-output-tokens': '4096' }, LARGE)).status).toBe(200);
    expect(cheaper.calls.at(-1)!.headers).toMatchObject({ 'x-tollgate-model': 'gpt-4o-mini' });
    expect(provider.calls).toHaveLength(before);
  });

  it('answers 402, 403 and 429 with the reason, and asks no provider', async () => {
    const before = provider.calls.length;
    const broke = await call(nginx, as('broke'));
    expect([broke.status, broke.body, broke.headers.get('retry-after')]).toEqual([
      402,
      { error: { type: 'budget_exceeded', code: expect.stringMatching(/insufficient_funds|too_large/) } },
      null,
    ]);
    expect(await call(nginx, as('closed'))).toMatchObject({ status: 403, body: { error: { code: 'tenant_suspended' } } });
    expect(provider.calls).toHaveLength(before);
    expect((await call(nginx, as('busy'))).status).toBe(200);
    const busy = await call(nginx, as('busy'));
    expect([busy.status, busy.body.error.code, busy.headers.get('retry-after')]).toEqual([429, 'concurrency_limited', '1']);
    expect((await call(nginx, { authorization: 'Bearer nobody' })).status).toBe(401);
  });

  it('a client cannot name another tenant', async () => {
    expect((await call(nginx, { ...as('broke'), 'x-tollgate-tenant-id': 'nginx-rich', 'x-tollgate-estimated-cost-usd': '0' })).status).toBe(402);
  });

  it('answers 503 while Tollgate is away, and asks no provider', async () => {
    const alone = await startNginx({ ...addresses, tollgate: await deadAddress() }, 'none', { 'key-of-rich': 'nginx-rich' });
    try {
      const before = provider.calls.length;
      expect(await call(alone, as('rich'))).toMatchObject({ status: 503, body: { error: { code: 'tollgate_away' } } });
      expect(provider.calls).toHaveLength(before);
    } finally {
      await alone.close();
    }
  });
});

describeWithEnvoy('a real Envoy', () => {
  let envoy: Gateway;
  const keys: Record<string, string> = {};
  const as = (name: string): Record<string, string> => ({ authorization: `Bearer ${keys[name]}` });

  beforeAll(async () => {
    await makeTenants('envoy');
    await admin('PUT', '/v1/sources/envoy', { gateway: 'api', authorize_headers: { api_key: 'authorization' } });
    for (const name of ['rich', 'tight', 'broke', 'closed', 'busy'])
      keys[name] = (await admin('POST', `/v1/tenants/envoy-${name}/keys`, { name: 'app' })).key as string;
    envoy = await startEnvoy(addresses, await makeKey({ source_id: 'envoy' }));
  }, START_TIMEOUT_MS);
  afterAll(async () => await envoy?.close());

  it('lets a call pass that fits, its size read from the body, and the report with its hold closes it', async () => {
    expect((await call(envoy, as('rich'))).status).toBe(200);
    const { headers } = provider.calls.at(-1)!;
    expect(headers).toMatchObject({
      'x-tollgate-decision': 'allow',
      'x-tollgate-model': 'gpt-4o',
      'x-tollgate-max-output-tokens': '100',
      authorization: 'Bearer PROVIDER_KEY',
    });
    expect(headers['x-tollgate-key']).toBeUndefined();
    await report('envoy-rich', { hold_id: headers['x-tollgate-hold-id'] });
  });

  it('sends a downgraded call to the cheaper models, with the model to run', async () => {
    expect((await call(envoy, as('tight'), LARGE)).status).toBe(200);
    expect(cheaper.calls.at(-1)!.headers).toMatchObject({ 'x-tollgate-decision': 'downgrade', 'x-tollgate-model': 'gpt-4o-mini' });
  });

  it('passes 402, 403 and 429 on to its client with the reason, and asks no provider', async () => {
    const before = provider.calls.length;
    const broke = await call(envoy, as('broke'));
    expect([broke.status, broke.headers.get('content-type')]).toEqual([402, 'application/problem+json; charset=utf-8']);
    expect(broke.body).toMatchObject({ status: 402, code: expect.stringMatching(/^quota\.(insufficient_funds|too_large)$/) });
    expect(await call(envoy, as('closed'))).toMatchObject({ status: 403, body: { code: 'quota.tenant_suspended' } });
    expect((await call(envoy, { authorization: 'Bearer nobody' })).body).toMatchObject({ status: 403, code: 'quota.key_revoked' });
    expect(provider.calls).toHaveLength(before);
    expect((await call(envoy, as('busy'))).status).toBe(200);
    const busy = await call(envoy, as('busy'));
    expect([busy.status, busy.headers.get('x-tollgate-reason'), busy.headers.get('retry-after')]).toEqual([429, 'concurrency_limited', '1']);
  });

  it('a client cannot bring an answer or a tenant of its own, nor a price', async () => {
    const forged = { 'x-tollgate-tenant-id': 'envoy-rich', 'x-tollgate-estimated-cost-usd': '0', 'x-tollgate-decision': 'allow' };
    expect((await call(envoy, { ...as('broke'), ...forged })).status).toBe(402);
  });

  it('a body above what Envoy buffers is asked for by its beginning', async () => {
    const large = { ...CALL, messages: [{ role: 'user', content: 'x'.repeat(400_000) }] };
    expect((await call(envoy, as('busy'), large)).status).toBe(429);
    const answer = await call(envoy, as('tight'), large);
    expect([answer.status, answer.body.code]).toEqual([402, 'quota.too_large']);
  });

  it('answers 503 while Tollgate is away, and asks no provider', async () => {
    const alone = await startEnvoy({ ...addresses, tollgate: await deadAddress() }, 'none');
    try {
      const before = provider.calls.length;
      expect((await call(alone, as('rich'))).status).toBe(503);
      expect(provider.calls).toHaveLength(before);
    } finally {
      await alone.close();
    }
  });
});

describeWithPortkey('a real Portkey gateway', () => {
  let portkey: Gateway;
  let key: string;
  const as = (name: string, more: object = {}, config = portkeyConfig(addresses.tollgate, key)): Record<string, string> => ({
    authorization: 'Bearer sk-of-the-provider',
    'x-portkey-provider': 'openai',
    'x-portkey-custom-host': `${provider.url}/v1`,
    'x-portkey-config': config,
    'x-portkey-metadata': JSON.stringify({ tenant_id: `portkey-${name}`, ...more }),
  });

  beforeAll(async () => {
    await makeTenants('portkey');
    key = await makeKey();
    portkey = await startPortkey();
  }, START_TIMEOUT_MS);
  afterAll(async () => await portkey?.close());

  it('lets a call pass that fits, and the report with its call id closes the hold', async () => {
    expect((await call(portkey, as('rich', { call_id: 'portkey-1' }))).status).toBe(200);
    expect(provider.calls.at(-1)).toMatchObject({ model: 'gpt-4o', maxTokens: 100 });
    await report('portkey-rich', { call_id: 'portkey-1' });
  });

  it('runs the cheaper model on a downgrade', async () => {
    expect((await call(portkey, as('tight'), LARGE)).status).toBe(200);
    expect(provider.calls.at(-1)).toMatchObject({ model: 'gpt-4o-mini', maxTokens: 4_096 });
  });

  it('answers 446 with the reason and without a secret, and asks no provider', async () => {
    const before = provider.calls.length;
    const broke = await call(portkey, as('broke'));
    expect([broke.status, broke.body.error.type]).toEqual([446, 'hooks_failed']);
    expect(broke.body.hook_results.before_request_hooks[0].checks[0].data.responseData.reason.code).toMatch(/insufficient_funds|too_large/);
    expect(JSON.stringify(broke.body)).not.toContain(key);
    expect((await call(portkey, as('closed'))).status).toBe(446);
    expect(provider.calls).toHaveLength(before);
  });

  it('a request that nobody can read in safety is blocked, not waved through', async () => {
    const before = provider.calls.length;
    const response = await fetch(`${portkey.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...as('rich') },
      body: JSON.stringify(CALL).replace('{', '{"constructor": {"prototype": 1}, '),
    });
    expect(response.status).toBe(446);
    expect(provider.calls).toHaveLength(before);
  });

  it('blocks while Tollgate is away, because the configuration says failOnError', async () => {
    const before = provider.calls.length;
    expect((await call(portkey, as('rich', {}, portkeyConfig(await deadAddress(), key)))).status).toBe(446);
    expect(provider.calls).toHaveLength(before);
  });
});
