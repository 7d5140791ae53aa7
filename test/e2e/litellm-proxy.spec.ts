/**
 * The whole way with nothing played: an application calls a real LiteLLM proxy that runs the configuration we ship, the proxy reports to
 * a real Tollgate process, and both tenants find every call in Report A and in their balance, to the nano-dollar.
 * The provider is the one thing of ours, because only then its usage is known; every amount below is worked out by hand from it.
 */
import { formatUsd, parseUsd } from '#libs/kernel/index.js';
import { eventually } from '../support/eventually.js';
import { describeWithLiteLlm, startLiteLlmProxy, type LiteLlmProxy } from '../support/litellm-proxy.js';
import { cleanUpPrograms, startStandalone, type Program } from '../support/standalone.js';
import { LAST_WORD_BEFORE_STALL, scripted, startUpstream, type Upstream, type UpstreamScript } from '../support/upstream.js';

/** How each tenant names itself: in the body's metadata, and in a header that the proxy turns into a tag. */
const ACME = { metadata: { tenant_id: 'acme', user_id: 'u_1', feature: 'chat' } };
const GLOBEX = { headers: { 'x-tenant-id': 'globex' } };
const GRANTED = '10.000000000';

function chat(model: string, script: UpstreamScript, extra: object = {}): object {
  return { model, max_tokens: 1_000, messages: [{ role: 'user', content: scripted(script) }], ...extra };
}

function countsOf(names: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const name of names) counts[name] = (counts[name] ?? 0) + 1;
  return counts;
}

describeWithLiteLlm('a real LiteLLM proxy', () => {
  let upstream: Upstream;
  let tollgate: Program;
  let proxy: LiteLlmProxy;

  beforeAll(async () => {
    upstream = await startUpstream();
    tollgate = await startStandalone();
    const key = await tollgate.call('POST', '/v1/service-keys', { name: 'litellm', scopes: ['ingest'] });
    proxy = await startLiteLlmProxy({ webhookUrl: `${tollgate.url}/v1/webhooks/litellm`, ingestKey: key.body.key as string, upstreamUrl: upstream.url });
    for (const tenant of ['acme', 'globex']) {
      expect((await tollgate.call('PUT', `/v1/tenants/${tenant}`, { name: tenant })).status).toBeLessThan(300);
      expect((await tollgate.call('POST', `/v1/tenants/${tenant}/credits`, { amount_usd: GRANTED, kind: 'paid' })).status).toBeLessThan(300);
    }
  }, 180_000);

  afterAll(async () => {
    await proxy?.close();
    await cleanUpPrograms();
    await upstream?.close();
  }, 60_000);

  async function answered(path: string, body: object, headers: Record<string, string> = {}): Promise<void> {
    const response = await proxy.post(path, body, { headers });
    expect([response.status, await response.text()]).toEqual([200, expect.any(String)]);
  }

  /** Reads until the upstream has stalled, then goes away as a closed browser tab does. */
  async function abandoned(path: string, body: object, headers: Record<string, string> = {}): Promise<void> {
    const leaving = new AbortController();
    const response = await proxy.post(path, body, { headers, signal: leaving.signal });
    let seen = '';
    for await (const piece of response.body as unknown as AsyncIterable<Uint8Array>) {
      seen += Buffer.from(piece).toString('utf8');
      if (seen.includes(LAST_WORD_BEFORE_STALL)) break;
    }
    leaving.abort();
  }

  async function events(tenantId: string): Promise<any[]> {
    return (await tollgate.call('GET', `/v1/events?tenant_id=${tenantId}&limit=500`)).body.data as any[];
  }

  async function settled(tenantId: string, statuses: string[]): Promise<any[]> {
    let latest: any[] = [];
    const done = async (): Promise<boolean> => {
      latest = await events(tenantId);
      return latest.length >= statuses.length && latest.every((event) => event.state !== 'pending');
    };
    try {
      await eventually(`${statuses.length} events of ${tenantId} are posted`, done, 30_000);
    } catch (error) {
      throw new Error(`${String(error)}; there are ${JSON.stringify(latest.map((event) => [event.event_id, event.status, event.state]))}`, { cause: error });
    }
    expect(countsOf(latest.map((event) => event.status))).toEqual(countsOf(statuses));
    return latest;
  }

  async function expectSpent(tenantId: string, cost: string): Promise<void> {
    const report = await tollgate.call('GET', `/v1/reports/monthly-spend?tenant_id=${tenantId}`);
    const rows = report.body.data as { cost_usd: string; charge_usd: string }[];
    const sum = (field: 'cost_usd' | 'charge_usd'): string => formatUsd(rows.reduce((total, row) => total + parseUsd(row[field]), 0n));
    expect({ cost: sum('cost_usd'), charge: sum('charge_usd') }).toEqual({ cost, charge: cost });
    const balance = await tollgate.call('GET', `/v1/tenants/${tenantId}/balance`);
    expect(balance.body.posted_usd).toBe(formatUsd(parseUsd(GRANTED) - parseUsd(cost)));
  }

  async function reportRows(tenantId: string): Promise<object[]> {
    const report = await tollgate.call('GET', `/v1/reports/monthly-spend?tenant_id=${tenantId}`);
    return (report.body.data as Record<string, unknown>[]).map((row) =>
      Object.fromEntries(
        ['provider', 'model', 'environment', 'input_tokens', 'output_tokens', 'cache_creation_tokens', 'cache_read_tokens', 'cost_usd'].map((name) => [
          name,
          row[name],
        ]),
      ),
    );
  }

  it('plain, streamed, cached, failing and abandoned calls of one tenant come to the literal', async () => {
    // 176 x 2.50 + 1024 x 1.25 + 350 x 10.00 USD per million = 0.005220
    await answered('/v1/chat/completions', chat('gpt-4o', { usage: { input: 1200, cacheRead: 1024, output: 350 } }, ACME));
    // 640 x 2.50 + 910 x 10.00 = 0.010700
    await answered('/v1/chat/completions', chat('gpt-4o', { usage: { input: 640, output: 910 } }, { ...ACME, stream: true }));
    // 1000 x 2.50 + 100 x 10.00 = 0.003500 once: the proxy's own cache answers the second one
    const cacheable = chat('gpt-4o', { usage: { input: 1000, output: 100 }, nonce: 'cacheable' }, { ...ACME, cache: { 'use-cache': true } });
    await answered('/v1/chat/completions', cacheable);
    await answered('/v1/chat/completions', cacheable);
    for (const behave of [429, 500] as const) {
      const failure = await proxy.post('/v1/chat/completions', chat('gpt-4o', { usage: { input: 9, output: 9 }, behave }, { ...ACME, num_retries: 0 }));
      expect(failure.status).toBe(behave);
      await failure.text();
    }
    // 176 x 5.00 + 1024 x 0.50 + 8 x 25.00 = 0.001592: the eight tokens that had arrived, as LiteLLM counts them
    await abandoned(
      '/v1/chat/completions',
      chat('claude-opus', { usage: { input: 1200, cacheRead: 1024, output: 350 }, behave: 'stall' }, { ...ACME, stream: true }),
    );

    const all = await settled('acme', ['success', 'success', 'success', 'success', 'error', 'error', 'cancelled']);
    const abandonedCall = all.find((event) => event.status === 'cancelled');
    expect(abandonedCall).toMatchObject({ usage_quality: 'partial', cost_usd: '0.001592000', requested_model: 'claude-opus', model: 'claude-opus-4-6' });
    expect(all.filter((event) => event.status === 'error').map((event) => event.cost_usd)).toEqual(['0.000000000', '0.000000000']);
    expect(await reportRows('acme')).toEqual([
      {
        provider: 'openai',
        model: 'gpt-4o',
        environment: 'prod',
        input_tokens: 1816,
        output_tokens: 1360,
        cache_creation_tokens: 0,
        cache_read_tokens: 1024,
        cost_usd: '0.019420000',
      },
      {
        provider: 'anthropic',
        model: 'claude-opus-4-6',
        environment: 'prod',
        input_tokens: 176,
        output_tokens: 8,
        cache_creation_tokens: 0,
        cache_read_tokens: 1024,
        cost_usd: '0.001592000',
      },
    ]);
    await expectSpent('acme', '0.021012000');
  }, 90_000);

  it("another tenant's calls through both APIs of Anthropic, with all kinds of cache tokens, come to theirs", async () => {
    // 312 x 5.00 + 18000 x 0.50 + 2048 x 6.25 + 4096 x 10.00 + 700 x 25.00 = 0.081820
    const usage = { input: 24_456, cacheRead: 18_000, cacheWrite5m: 2_048, cacheWrite1h: 4_096, output: 700 };
    await answered('/v1/chat/completions', chat('claude-opus', { usage }), GLOBEX.headers);
    // the same figures once more in a stream of the other API
    await answered('/v1/messages', chat('claude-opus', { usage, nonce: 'stream' }, { stream: true }), GLOBEX.headers);
    // 2000 x 5.00 + 300 x 25.00 = 0.017500
    await answered('/v1/messages', chat('claude-opus', { usage: { input: 2_000, output: 300 } }), GLOBEX.headers);
    // 1200 x 5.00 + 8 x 25.00 = 0.006200
    await abandoned('/v1/messages', chat('claude-opus', { usage: { input: 1_200, output: 300 }, behave: 'stall' }, { stream: true }), GLOBEX.headers);

    await settled('globex', ['success', 'success', 'success', 'cancelled']);
    expect(await reportRows('globex')).toEqual([
      {
        provider: 'anthropic',
        model: 'claude-opus-4-6',
        environment: 'prod',
        input_tokens: 3_824,
        output_tokens: 1_708,
        cache_creation_tokens: 12_288,
        cache_read_tokens: 36_000,
        cost_usd: '0.187340000',
      },
    ]);
    await expectSpent('globex', '0.187340000');
  }, 90_000);

  it('no report is lost while others are on their way', async () => {
    const calls = Array.from({ length: 150 }, (_, index) =>
      chat('gpt-4o-mini', { usage: { input: 100, output: 10 }, nonce: String(index) }, { metadata: { tenant_id: 'umbrella' } }),
    );
    const sender = async (): Promise<void> => {
      for (let call = calls.pop(); call; call = calls.pop()) await answered('/v1/chat/completions', call);
    };
    await Promise.all([sender(), sender(), sender(), sender()]);
    const all = await settled(
      'umbrella',
      Array.from({ length: 150 }, () => 'success'),
    );
    // 100 x 0.15 + 10 x 0.60 USD per million = 0.000021 each
    expect(new Set(all.map((event) => event.cost_usd))).toEqual(new Set(['0.000021000']));
  }, 90_000);

  it('a stream that the provider breaks off is billed for what had arrived', async () => {
    const response = await proxy.post(
      '/v1/chat/completions',
      chat('claude-opus', { usage: { input: 1_000, output: 300 }, behave: 'drop' }, { metadata: { tenant_id: 'hooli' }, stream: true }),
    );
    await response.text().catch(() => undefined);
    const [event] = await settled('hooli', ['error']);
    expect(event).toMatchObject({ usage_quality: 'partial', status: 'error', state: 'posted' });
    expect(event.usage.input_tokens).toBe(1_000);
    expect(parseUsd(event.cost_usd)).toBe(BigInt(event.usage.input_tokens) * 5_000n + BigInt(event.usage.output_tokens) * 25_000n);
  }, 60_000);

  it('what the application could see of a call leads to its event', async () => {
    const response = await proxy.post('/v1/chat/completions', chat('gpt-4o', { usage: { input: 10, output: 10 } }, { metadata: { tenant_id: 'initech' } }));
    const callId = response.headers.get('x-litellm-call-id') ?? '';
    const { id } = (await response.json()) as { id: string };
    await settled('initech', ['success']);
    const found = await tollgate.call('GET', `/v1/events?call_id=${callId}`);
    expect(found.body.data).toEqual([expect.objectContaining({ event_id: `litellm:${id}`, tenant_id: 'initech', source: 'litellm', cost_usd: '0.000125000' })]);
  }, 60_000);
});
