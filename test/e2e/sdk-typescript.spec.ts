/**
 * The TypeScript client around the official `openai` package, against a real Tollgate and a model provider of our own that counts what the
 * test says and can be cut half-way: allowed, blocked, given back, partial; and to the nano-dollar.
 */
import OpenAI from 'openai';
import { formatUsd, parseUsd } from '#libs/kernel/index.js';
import { Tollgate, TollgateBlockedError } from '../../clients/typescript/src/index.js';
import { withTollgate } from '../../clients/typescript/src/openai.js';
import { eventually } from '../support/eventually.js';
import { cleanUpPrograms, startStandalone, type Program } from '../support/standalone.js';
import { LAST_WORD_BEFORE_STALL, scripted, startUpstream, type Upstream, type UpstreamScript } from '../support/upstream.js';

// Prices per million: gpt-4o 2.50 in and 10.00 out. This call costs 0.004025.
const USAGE = { input: 10, output: 400 };
const COST = parseUsd('0.004025');

describe('the TypeScript client against a real Tollgate', () => {
  let upstream: Upstream;
  let server: Program;
  let tollgate: Tollgate;
  const logged: string[] = [];

  beforeAll(async () => {
    upstream = await startUpstream();
    server = await startStandalone();
    const { body } = await server.call('POST', '/v1/service-keys', { name: 'application', scopes: ['authorize', 'ingest', 'read'] });
    const logger = { warn: (line: string) => logged.push(line), error: (line: string) => logged.push(line) };
    tollgate = new Tollgate({ url: server.url, key: body.key as string, authorizeTimeoutMs: 20_000, onFailure: 'closed', logger });
  }, 120_000);
  afterAll(async () => {
    await cleanUpPrograms();
    await upstream?.close();
  }, 60_000);
  afterEach(() => expect(logged.splice(0)).toEqual([]));

  async function makeTenant(tenantId: string, creditUsd: string): Promise<void> {
    await server.call('PUT', `/v1/tenants/${tenantId}`, { name: tenantId });
    if (creditUsd !== '0') await server.call('POST', `/v1/tenants/${tenantId}/credits`, { amount_usd: creditUsd, kind: 'paid' });
  }

  function openaiFor(tenantId: string): OpenAI {
    const plain = new OpenAI({ apiKey: 'none', baseURL: `${upstream.url}/v1`, maxRetries: 0 });
    return withTollgate(plain, { tollgate, tenantId, feature: 'summarize', userId: 'u1', tags: { team: 'blue' } });
  }

  function request(script: Partial<UpstreamScript> = {}) {
    return { model: 'gpt-4o', max_tokens: 400, messages: [{ role: 'user' as const, content: scripted({ usage: USAGE, ...script }) }] };
  }

  async function bookedEvents(tenantId: string, count: number): Promise<any[]> {
    await tollgate.flush();
    let events: any[] = [];
    await eventually(`${count} booked events of ${tenantId}`, async () => {
      events = (await server.call('GET', `/v1/events?tenant_id=${tenantId}`)).body.data;
      return events.length === count && events.every(({ state }) => state === 'posted');
    });
    await eventually(`nothing is held for ${tenantId}`, async () => (await tollgate.balance(tenantId)).held_usd === '0.000000000');
    return events;
  }

  it('allowed calls, streamed or not, cost what the provider counted, and are attributed', async () => {
    await makeTenant('allowed', '1');
    const answer = await openaiFor('allowed').chat.completions.create(request());
    expect(answer.usage?.completion_tokens).toBe(400);
    const pieces = [];
    for await (const piece of await openaiFor('allowed').chat.completions.create({ ...request(), stream: true })) pieces.push(piece);
    expect(pieces.every(({ choices }) => choices.length === 1)).toBe(true);
    const events = await bookedEvents('allowed', 2);
    for (const event of events) {
      expect(event).toMatchObject({
        status: 'success',
        usage_quality: 'exact',
        feature: 'summarize',
        user_id: 'u1',
        tags: { team: 'blue' },
        cost_usd: formatUsd(COST),
      });
      expect(event.hold_id).toMatch(/^hold_/);
    }
    expect((await tollgate.balance('allowed')).posted_usd).toBe(formatUsd(parseUsd('1') - 2n * COST));
  });

  it('a tenant without money is refused before the model hears of the call', async () => {
    await makeTenant('empty', '0');
    const before = upstream.calls.length;
    const error: unknown = await openaiFor('empty')
      .chat.completions.create(request())
      .catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(TollgateBlockedError);
    expect(error).toMatchObject({ status: 402, code: 'insufficient_funds', tenantId: 'empty' });
    expect(upstream.calls).toHaveLength(before);
  });

  it('an error of the provider gives the money back and books nothing', async () => {
    await makeTenant('failing', '1');
    await expect(openaiFor('failing').chat.completions.create(request({ behave: 500 }))).rejects.toMatchObject({ status: 500 });
    expect(await bookedEvents('failing', 0)).toEqual([]);
    expect(await tollgate.balance('failing')).toMatchObject({ posted_usd: '1.000000000', unresolved_usd: '0.000000000' });
  });

  it.each([
    ['left half-way', 'stall'],
    ['broken half-way', 'drop'],
  ] as const)('a stream that is %s is booked as partial: its input, and what was seen of its output', async (name, behave) => {
    const tenantId = name.replaceAll(' ', '-');
    await makeTenant(tenantId, '1');
    const stream = await openaiFor(tenantId).chat.completions.create({ ...request({ behave }), stream: true });
    let seen = '';
    const reading = (async () => {
      for await (const piece of stream) {
        seen += piece.choices[0]?.delta.content ?? '';
        if (behave === 'stall' && seen.includes(LAST_WORD_BEFORE_STALL)) break;
      }
    })();
    const failure: unknown = await reading.then(
      () => null,
      (error: unknown) => error,
    );
    expect(failure === null).toBe(behave === 'stall');
    expect(seen).toContain(LAST_WORD_BEFORE_STALL);
    const [event] = await bookedEvents(tenantId, 1);
    expect(event).toMatchObject({ status: 'cancelled', usage_quality: 'partial', usage: { output_tokens: Math.ceil(Buffer.byteLength(seen) / 3) } });
    expect(event.usage.input_tokens).toBeGreaterThan(0);
    const cost = BigInt(event.usage.input_tokens) * 2_500n + BigInt(event.usage.output_tokens) * 10_000n;
    expect((await tollgate.balance(tenantId)).posted_usd).toBe(formatUsd(parseUsd('1') - cost));
    await eventually('the provider noticed', () => upstream.calls.at(-1)?.aborted === true);
  });

  it('by hand: ask, extend, settle, release, report', async () => {
    await makeTenant('by-hand', '1');
    const asked = await tollgate.authorize({
      tenant_id: 'by-hand',
      call_id: 'call-1',
      provider: 'openai',
      model: 'gpt-4o',
      input_tokens: 10,
      max_output_tokens: 400,
    });
    const holdId = asked.hold?.hold_id ?? '';
    expect(asked).toMatchObject({ decision: 'allow', hold: { amount_usd: formatUsd(COST) } });
    expect(await tollgate.extend(holdId, { output_tokens: 800 })).toMatchObject({ amount_usd: '0.008025000' });
    expect(await tollgate.settle(holdId, { usage: { input_tokens: 10, output_tokens: 400 } })).toMatchObject({ event: { outcome: 'accepted' } });
    const other = await tollgate.authorize({ tenant_id: 'by-hand', model: 'gpt-4o', provider: 'openai', estimated_cost_usd: '0.5' });
    expect(await tollgate.release(other.hold?.hold_id ?? '')).toMatchObject({ state: 'released' });
    expect(
      await tollgate.events({ event_id: 'e1', tenant_id: 'by-hand', provider: 'openai', model: 'gpt-4o', usage: { output_tokens: 400, input_tokens: 10 } }),
    ).toMatchObject({ accepted: 1 });
    expect((await bookedEvents('by-hand', 2)).map(({ cost_usd }) => cost_usd)).toEqual([formatUsd(COST), formatUsd(COST)]);
    await expect(tollgate.release(holdId)).rejects.toMatchObject({ status: 409, code: 'hold.already_ended' });
    await expect(tollgate.events({ event_id: 'e2', model: 5 as unknown as string })).resolves.toMatchObject({ rejected: 1 });
  });
});
