/**
 * A real LiteLLM proxy that asks a real Tollgate before every call, with the hook and the configuration we ship: one tenant's prepaid
 * balance runs out and its calls are refused, the other's go on, credit lets them pass again, and at the end balance, ledger and
 * Report A agree and no hold is left.
 */
import { readFileSync } from 'node:fs';
import { formatUsd, parseUsd } from '#libs/kernel/index.js';
import { eventually } from '../support/eventually.js';
import { describeWithLiteLlm, startLiteLlmProxy, type LiteLlmProxy } from '../support/litellm-proxy.js';
import { cleanUpPrograms, startStandalone, type Program } from '../support/standalone.js';
import { LAST_WORD_BEFORE_STALL, scripted, startUpstream, type Upstream, type UpstreamScript } from '../support/upstream.js';

const MAX_CALLS = 40;
// Prices per million: gpt-4o 2.50 in and 10.00 out, gpt-4o-mini 0.15 and 0.60. This call costs 0.004025, a little less than its hold.
const USAGE = { input: 10, output: 400 };

describeWithLiteLlm('a real LiteLLM proxy that asks before every call', () => {
  let upstream: Upstream;
  let tollgate: Program;
  let proxy: LiteLlmProxy;

  beforeAll(async () => {
    upstream = await startUpstream();
    tollgate = await startStandalone();
    const key = async (scope: string): Promise<string> =>
      (await tollgate.call('POST', '/v1/service-keys', { name: scope, scopes: [scope] })).body.key as string;
    for (const tenant of ['tight', 'rich']) await tollgate.call('PUT', `/v1/tenants/${tenant}`, { name: tenant });
    await grant('tight', '0.05');
    await grant('rich', '10');
    proxy = await startLiteLlmProxy({
      webhookUrl: `${tollgate.url}/v1/webhooks/litellm`,
      ingestKey: await key('ingest'),
      upstreamUrl: upstream.url,
      configuration: readFileSync(new URL('../../deploy/litellm/config-authorize.yaml', import.meta.url), 'utf8'),
      files: { 'tollgate_litellm.py': readFileSync(new URL('../../clients/python/tollgate_litellm.py', import.meta.url), 'utf8') },
      environment: { TOLLGATE_URL: tollgate.url, TOLLGATE_KEY: await key('authorize'), TOLLGATE_TIMEOUT_MS: '5000', TOLLGATE_ON_FAILURE: 'closed' },
    });
  }, 180_000);

  afterAll(async () => {
    await proxy?.close();
    await cleanUpPrograms();
    await upstream?.close();
  }, 60_000);

  async function grant(tenant: string, amount: string): Promise<void> {
    expect((await tollgate.call('POST', `/v1/tenants/${tenant}/credits`, { amount_usd: amount, kind: 'paid' })).status).toBe(201);
  }

  async function call(tenant: string, script: Partial<UpstreamScript> = {}, extra: object = {}): Promise<{ status: number; text: string }> {
    const body = {
      model: 'gpt-4o',
      max_tokens: 400,
      messages: [{ role: 'user', content: scripted({ usage: USAGE, ...script }) }],
      metadata: { tenant_id: tenant },
      ...extra,
    };
    const response = await proxy.post('/v1/chat/completions', body);
    return { status: response.status, text: await response.text() };
  }

  async function balance(tenant: string): Promise<Record<string, string>> {
    return (await tollgate.call('GET', `/v1/tenants/${tenant}/balance`)).body as Record<string, string>;
  }

  async function nothingHeld(tenant: string): Promise<void> {
    await eventually(`nothing is held for ${tenant}`, async () => (await balance(tenant))['held_usd'] === '0.000000000', 30_000);
  }

  it('refuses with 402 and the reason when the balance is used up, while the other tenant goes on, and passes again after a credit', async () => {
    let passed = 0;
    let refusal: { status: number; text: string } | null = null;
    while (refusal === null && passed < MAX_CALLS) {
      const answer = await call('tight');
      if (answer.status === 200) passed += 1;
      // Running calls hold what is left for a moment: 429 says to come back, and their bookings end it.
      else if (answer.status === 429) await nothingHeld('tight');
      else refusal = answer;
    }
    expect(refusal?.status).toBe(402);
    expect(refusal?.text).toMatch(/insufficient_funds|too_large/);
    // 12 x 0.004025 = 0.0483 fits into 0.05; of a thirteenth only a shorter answer does, and what is left then is not worth a word.
    expect(passed).toBe(13);
    await nothingHeld('tight');
    const left = parseUsd((await balance('tight'))['posted_usd'] ?? '');
    expect(left >= 0n && left < parseUsd('0.05') - 12n * parseUsd('0.004025')).toBe(true);
    expect(upstream.calls.map(({ maxTokens }) => maxTokens).filter((maxTokens) => maxTokens !== 400)).toHaveLength(1);
    expect((await call('rich')).status).toBe(200);
    await grant('tight', '1');
    expect((await call('tight')).status).toBe(200);
    await nothingHeld('tight');
    expect((await balance('tight'))['posted_usd']).toBe(formatUsd(left + parseUsd('1') - parseUsd('0.004025')));
  });

  it('a refusal upstream, a fallback to a second model and its success leave one charge and no hold', async () => {
    await nothingHeld('rich');
    const before = parseUsd((await balance('rich'))['posted_usd'] ?? '');
    expect((await call('rich', { behave: 429, onlyModel: 'gpt-4o' })).status).toBe(200);
    // 10 x 0.15 + 400 x 0.60 = 0.0002415
    await eventually('the fallback is charged', async () => parseUsd((await balance('rich'))['posted_usd'] ?? '') === before - parseUsd('0.0002415'), 30_000);
    await nothingHeld('rich');
  });

  it('an abandoned stream is charged for what arrived, or stays unresolved, never nothing', async () => {
    await nothingHeld('rich');
    const before = parseUsd((await balance('rich'))['posted_usd'] ?? '');
    const leaving = new AbortController();
    const body = {
      model: 'gpt-4o',
      max_tokens: 400,
      stream: true,
      messages: [{ role: 'user', content: scripted({ usage: USAGE, behave: 'stall' }) }],
      metadata: { tenant_id: 'rich' },
    };
    const response = await proxy.post('/v1/chat/completions', body, { signal: leaving.signal });
    let seen = '';
    for await (const piece of response.body as unknown as AsyncIterable<Uint8Array>) {
      seen += Buffer.from(piece).toString('utf8');
      if (seen.includes(LAST_WORD_BEFORE_STALL)) break;
    }
    leaving.abort();
    await eventually(
      'the stream is charged or held',
      async () => {
        const now = await balance('rich');
        return parseUsd(now['posted_usd'] ?? '') < before || now['held_usd'] !== '0.000000000' || now['unresolved_usd'] !== '0.000000000';
      },
      30_000,
    );
  });

  it('balance, ledger and Report A agree to the nano-dollar', async () => {
    for (const [tenant, granted] of [
      ['tight', '1.05'],
      ['rich', '10'],
    ] as const) {
      const rows = (await tollgate.call('GET', `/v1/reports/monthly-spend?tenant_id=${tenant}`)).body.data as { charge_usd: string }[];
      const spent = rows.reduce((sum, row) => sum + parseUsd(row.charge_usd), 0n);
      expect({ tenant, posted: (await balance(tenant))['posted_usd'] }).toEqual({ tenant, posted: formatUsd(parseUsd(granted) - spent) });
    }
    expect((await tollgate.call('GET', '/v1/ledger/check')).body.drift).toEqual([]);
  });
});
