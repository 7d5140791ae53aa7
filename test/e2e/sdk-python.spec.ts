/**
 * The Python client around the official `openai` package, sync and async, and the callback for the LiteLLM library, each in a Python process of
 * its own against a real Tollgate and a model provider of our own: allowed, blocked, given back, partial; and to the nano-dollar.
 */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { formatUsd, parseUsd } from '#libs/kernel/index.js';
import { eventually } from '../support/eventually.js';
import { describeWithLiteLlm } from '../support/litellm-proxy.js';
import { cleanUpPrograms, startStandalone, type Program } from '../support/standalone.js';
import { LAST_WORD_BEFORE_STALL, scripted, startUpstream, type Upstream, type UpstreamScript } from '../support/upstream.js';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const PYTHON = `${ROOT}.venv-litellm/bin/python`;
/** Importing LiteLLM alone takes ten seconds on a slow machine. */
const SESSION_TIMEOUT_MS = 120_000;
// Prices per million: gpt-4o 2.50 in and 10.00 out. This call costs 0.004025.
const USAGE = { input: 10, output: 400 };
const COST = parseUsd('0.004025');

interface Session {
  readonly action: 'call' | 'call_async' | 'stream' | 'library';
  readonly script?: Partial<UpstreamScript>;
  /** Stops reading half-way. */
  readonly leaves?: boolean;
}

describeWithLiteLlm('the Python client against a real Tollgate', () => {
  let upstream: Upstream;
  let server: Program;
  let key: string;

  beforeAll(async () => {
    expect(existsSync(PYTHON)).toBe(true);
    upstream = await startUpstream();
    server = await startStandalone();
    key = (await server.call('POST', '/v1/service-keys', { name: 'application', scopes: ['authorize', 'ingest', 'read'] })).body.key as string;
  }, 120_000);
  afterAll(async () => {
    await cleanUpPrograms();
    await upstream?.close();
  }, 60_000);

  async function makeTenant(tenantId: string, creditUsd: string): Promise<void> {
    await server.call('PUT', `/v1/tenants/${tenantId}`, { name: tenantId });
    if (creditUsd !== '0') await server.call('POST', `/v1/tenants/${tenantId}/credits`, { amount_usd: creditUsd, kind: 'paid' });
  }

  async function run(tenant: string, { action, script = {}, leaves = false }: Session): Promise<any> {
    const content = scripted({ usage: USAGE, ...script });
    const asked = JSON.stringify({ server: server.url, key, upstream: upstream.url, tenant, action, content, leaves });
    const environment = { PATH: process.env['PATH'], PYTHONPATH: `${ROOT}clients/python`, PYTHONWARNINGS: 'ignore' };
    const { stdout, stderr } = await promisify(execFile)(PYTHON, [`${ROOT}test/support/sdk-session.py`, asked], {
      env: environment,
      timeout: SESSION_TIMEOUT_MS,
    });
    expect(stderr).not.toContain('Tollgate did not take');
    return JSON.parse(stdout.trim().split('\n').at(-1) ?? '');
  }

  async function balance(tenantId: string): Promise<Record<string, string>> {
    return (await server.call('GET', `/v1/tenants/${tenantId}/balance`)).body as Record<string, string>;
  }

  async function bookedEvents(tenantId: string, count: number): Promise<any[]> {
    let events: any[] = [];
    await eventually(`${count} booked events of ${tenantId}`, async () => {
      events = (await server.call('GET', `/v1/events?tenant_id=${tenantId}`)).body.data;
      return events.length === count && events.every(({ state }) => state === 'posted');
    });
    await eventually(`nothing is held for ${tenantId}`, async () => (await balance(tenantId))['held_usd'] === '0.000000000');
    return events;
  }

  it.each(['call', 'call_async', 'stream', 'library'] as const)(
    'an allowed call (%s) costs what the provider counted',
    async (action) => {
      await makeTenant(action, '1');
      const saw = await run(action, { action });
      expect(action === 'stream' ? saw.error : saw.output).toBe(action === 'stream' ? null : 400);
      const [event] = await bookedEvents(action, 1);
      expect(event).toMatchObject({
        status: 'success',
        usage_quality: 'exact',
        feature: action === 'library' ? 'library' : 'summarize',
        cost_usd: formatUsd(COST),
      });
      expect(event.hold_id).toMatch(/^hold_/);
      expect((await balance(action))['posted_usd']).toBe(formatUsd(parseUsd('1') - COST));
    },
    SESSION_TIMEOUT_MS,
  );

  it(
    'a tenant without money is refused before the model hears of the call',
    async () => {
      await makeTenant('empty', '0');
      const before = upstream.calls.length;
      expect(await run('empty', { action: 'call' })).toEqual({ status: 402, code: 'insufficient_funds' });
      expect(upstream.calls).toHaveLength(before);
    },
    SESSION_TIMEOUT_MS,
  );

  it(
    'an error of the provider gives the money back and books nothing',
    async () => {
      await makeTenant('failing', '1');
      expect(await run('failing', { action: 'call', script: { behave: 500 } })).toEqual({ upstream: 500 });
      expect(await bookedEvents('failing', 0)).toEqual([]);
      expect(await balance('failing')).toMatchObject({ posted_usd: '1.000000000', unresolved_usd: '0.000000000' });
    },
    SESSION_TIMEOUT_MS,
  );

  it.each(['stall', 'drop'] as const)(
    'a stream that is cut half-way (%s) is booked as partial: its input, and what was seen of its output',
    async (behave) => {
      await makeTenant(behave, '1');
      const { seen } = await run(behave, { action: 'stream', script: { behave }, leaves: behave === 'stall' });
      expect(seen).toContain(LAST_WORD_BEFORE_STALL);
      const [event] = await bookedEvents(behave, 1);
      expect(event).toMatchObject({ status: 'cancelled', usage_quality: 'partial', usage: { output_tokens: Math.ceil(Buffer.byteLength(seen) / 3) } });
      const cost = BigInt(event.usage.input_tokens) * 2_500n + BigInt(event.usage.output_tokens) * 10_000n;
      expect(event.usage.input_tokens).toBeGreaterThan(0);
      expect((await balance(behave))['posted_usd']).toBe(formatUsd(parseUsd('1') - cost));
    },
    SESSION_TIMEOUT_MS,
  );
});
