/**
 * A real LiteLLM proxy that asks through its generic guardrail, with the configuration we ship and no code of ours in the proxy: what fits
 * passes, is held, and its report closes the hold; what does not is refused with the reason; without Tollgate nothing passes.
 */
import { readFileSync } from 'node:fs';
import { eventually } from '../support/eventually.js';
import { describeWithLiteLlm, startLiteLlmProxy, type LiteLlmProxy } from '../support/litellm-proxy.js';
import { cleanUpPrograms, startStandalone, type Program } from '../support/standalone.js';
import { scripted, startUpstream, type Upstream } from '../support/upstream.js';

const START_TIMEOUT_MS = 180_000;

describeWithLiteLlm('a real LiteLLM proxy that asks through its guardrail', () => {
  let upstream: Upstream;
  let tollgate: Program;
  let proxy: LiteLlmProxy;

  beforeAll(async () => {
    [upstream, tollgate] = await Promise.all([startUpstream(), startStandalone()]);
    const key = async (scope: string): Promise<string> =>
      (await tollgate.call('POST', '/v1/service-keys', { name: scope, scopes: [scope] })).body.key as string;
    for (const [tenant, amount] of [
      ['rich', '10'],
      ['tight', '0.01'],
    ] as const) {
      await tollgate.call('PUT', `/v1/tenants/${tenant}`, {});
      await tollgate.call('POST', `/v1/tenants/${tenant}/credits`, { amount_usd: amount, kind: 'paid' });
    }
    await tollgate.call('PUT', '/v1/tenants/closed', { status: 'suspended' });
    // A cheaper model is no way out here: the guardrail cannot say it.
    await tollgate.call('PUT', '/v1/tenants/tight/routes', { 'gpt-4o': ['gpt-4o-mini'] });
    proxy = await startLiteLlmProxy({
      webhookUrl: `${tollgate.url}/v1/webhooks/litellm`,
      ingestKey: await key('ingest'),
      upstreamUrl: upstream.url,
      configuration: readFileSync(new URL('../../deploy/litellm/config-guardrail.yaml', import.meta.url), 'utf8'),
      environment: { TOLLGATE_GUARDRAIL_URL: `${tollgate.url}/v1/authorize/litellm`, TOLLGATE_AUTHORIZE_KEY: await key('authorize') },
    });
  }, START_TIMEOUT_MS);

  afterAll(async () => {
    await proxy?.close();
    await cleanUpPrograms();
    await upstream?.close();
  }, START_TIMEOUT_MS);

  async function call(tenant: string, model = 'gpt-4o', more: object = {}): Promise<{ status: number; text: string }> {
    const content = scripted({ usage: { input: 10, output: 100 } });
    const response = await proxy.post(
      '/v1/chat/completions',
      { model, messages: [{ role: 'user', content }], ...more },
      { headers: { 'x-tenant-id': tenant } },
    );
    return { status: response.status, text: await response.text() };
  }

  it('lets a call pass that fits, plain and streamed; its report closes the hold', async () => {
    expect((await call('rich')).status).toBe(200);
    expect((await call('rich', 'gpt-4o', { stream: true })).status).toBe(200);
    // Each is 10 x 2.50 + 100 x 10.00 per million.
    await eventually(
      'both calls are charged and nothing is held',
      async () => {
        const { body } = await tollgate.call('GET', '/v1/tenants/rich/balance');
        return body.posted_usd === '9.997950000' && body.held_usd === '0.000000000';
      },
      30_000,
    );
  });

  it('refuses what does not fit with the reason and asks no provider, while a cheaper model passes', async () => {
    const before = upstream.calls.length;
    const refused = await call('tight');
    expect([refused.status, refused.text]).toEqual([400, expect.stringContaining('too_large: ')]);
    expect((await call('closed')).text).toContain('tenant_suspended');
    expect(upstream.calls).toHaveLength(before);
    expect((await call('tight', 'gpt-4o-mini')).status).toBe(200);
  });

  it('refuses while Tollgate is away, because the configuration says fail_closed', async () => {
    const before = upstream.calls.length;
    await tollgate.end('SIGTERM');
    expect((await call('rich')).status).toBeGreaterThanOrEqual(400);
    expect(upstream.calls).toHaveLength(before);
  }, 120_000);
});
