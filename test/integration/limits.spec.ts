import { FixedClock } from '#libs/kernel/testing/fixed-clock.js';
import { CrossingReader, FollowTimeZones, WarmBudgets } from '#libs/quota/index.js';
import type { TestApi } from '../support/api.js';
import { describeOnStores } from '../support/on-stores.js';
import { QuotaTestApi } from '../support/quota-api.js';
import { settleEverything } from '../support/posting.js';

const MINUTE_MS = 60_000;

describeOnStores('limits over HTTP', ({ start, tenants }) => {
  let api: TestApi;
  let quota: QuotaTestApi;
  const clock = new FixedClock('2026-11-22T12:00:00.000Z');
  beforeAll(async () => {
    api = await start({ clock });
    quota = new QuotaTestApi(api, tenants);
    await api.call('PUT', '/v1/price-overrides/free', { body: { provider: 'openai', model: 'free-model', prices: { input_tokens: '0', output_tokens: '0' } } });
  });
  afterAll(async () => await api.close());
  beforeEach(() => clock.set('2026-11-22T12:00:00.000Z'));

  const call = async (method: string, path: string, body?: object, headers: Record<string, string> = {}): Promise<any> => {
    const answer = await api.call(method, path, { ...(body === undefined ? {} : { body }), headers });
    if (answer.status >= 300) throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.body;
  };
  const put = async (tenantId: string, budgetId: string, body: object): Promise<any> => await call('PUT', `/v1/tenants/${tenantId}/budgets/${budgetId}`, body);
  const ask = async (tenantId: string, costUsd: string, more: object = {}): Promise<any> => (await quota.askFor(tenantId, costUsd, more)).body;
  const settle = async (holdId: string, costUsd: string): Promise<void> => {
    await call('POST', `/v1/holds/${holdId}/settle`, { cost_usd: costUsd });
    await settleEverything(api.app);
  };
  const spend = async (tenantId: string, costUsd: string, more: object = {}): Promise<void> => {
    const { hold } = await ask(tenantId, costUsd, more);
    await settle(hold.hold_id, costUsd);
  };
  const statusOf = async (tenantId: string, budgetId: string): Promise<any> => await call('GET', `/v1/tenants/${tenantId}/budgets/${budgetId}/status`);

  describe('windows', () => {
    it.each([
      ['of requests', { limit_requests: 3 }, 'rate_limited'],
      ['of dollars', { limit_usd: '0.30' }, 'in_flight_exhausted'],
    ])('a rolling limit %s admits again when its oldest sub-bucket has left, and not a millisecond before', async (_what, limit, code) => {
      const tenantId = await quota.makeTenant({}, '100');
      await put(tenantId, 'minute', { period: { rolling_seconds: 60 }, ...limit });
      for (const at of [0, 20_000, 1_500]) {
        await ask(tenantId, '0.10');
        clock.advance(at);
      }
      const { reason } = await ask(tenantId, '0.10');
      expect(reason).toMatchObject({ code, budget_id: 'minute' });
      // The first call was asked in the second 12:00:00, which counts until sixty more have passed.
      if (code === 'rate_limited') expect(reason.retry_after_ms).toBe(61_000 - 21_500);
      clock.set('2026-11-22T12:01:00.999Z');
      expect((await ask(tenantId, '0.10')).decision).toBe('block');
      clock.advance(1);
      expect((await ask(tenantId, '0.10')).decision).toBe('allow');
    });

    it('a month ends in the zone of the tenant: the next millisecond has the whole budget again, and no job was run', async () => {
      const tenantId = await quota.makeTenant({ timezone: 'Asia/Tokyo' }, '100');
      await put(tenantId, 'monthly', { period: 'month', limit_usd: '1.00' });
      await spend(tenantId, '1.00');
      const { reason } = await ask(tenantId, '0.50');
      expect(reason).toMatchObject({ code: 'budget_exhausted', retry_after_ms: Date.parse('2026-11-30T15:00:00Z') - clock.now().getTime() });
      clock.set('2026-11-30T14:59:59.999Z');
      expect((await ask(tenantId, '0.50')).decision).toBe('block');
      clock.advance(1);
      const fresh = await ask(tenantId, '1.00');
      expect(fresh.decision).toBe('allow');
      expect(fresh.limits[1]).toMatchObject({ used: '0.000000000', held: '1.000000000', resets_at: '2026-12-31T15:00:00.000Z' });
    });

    it('budgets follow their tenant to another time zone, with what was spent in the period of there', async () => {
      clock.set('2026-11-22T15:30:00.000Z');
      const tenantId = await quota.makeTenant({}, '100');
      await put(tenantId, 'daily', { period: 'day', limit_usd: '1.00' });
      await spend(tenantId, '0.30');
      clock.set('2026-11-22T16:30:00.000Z');
      await spend(tenantId, '0.20');
      // In Shanghai it has been the 23rd since 16:00 UTC.
      await call('PUT', `/v1/tenants/${tenantId}`, { timezone: 'Asia/Shanghai' });
      expect(await api.app.get(FollowTimeZones).execute()).toBe(1);
      await api.app.get(WarmBudgets).execute();
      expect(await api.app.get(FollowTimeZones).execute()).toBe(0);
      const { budget, data } = await statusOf(tenantId, 'daily');
      expect(budget).toMatchObject({ version: 2, timezone: 'Asia/Shanghai', warming: false });
      expect(data[0]).toMatchObject({ period_start: '2026-11-22T16:00:00.000Z', limits: [{ used: '0.200000000' }] });
    });

    it("H8 a call asked in November is November's, whenever it ends", async () => {
      clock.set('2026-11-30T23:55:00.000Z');
      const tenantId = await quota.makeTenant({}, '100');
      await put(tenantId, 'monthly', { period: 'month', limit_usd: '1.00' });
      const { hold } = await ask(tenantId, '0.90');
      clock.set('2026-12-01T00:05:00.000Z');
      expect((await ask(tenantId, '1.00')).decision).toBe('allow');
      await settle(hold.hold_id, '0.70');
      expect((await statusOf(tenantId, 'monthly')).data[0].limits[0]).toMatchObject({ used: '0.000000000', held: '1.000000000' });
      const rows = await api.database.db.query<{ period_ms: bigint; used_nano: bigint }>(
        'SELECT period_ms, used_nano FROM quota.counter WHERE tenant_id = $1',
        [tenantId],
      );
      expect(rows).toEqual([{ period_ms: BigInt(Date.parse('2026-11-01T00:00:00Z')), used_nano: 700_000_000n }]);
    });

    it('a call that runs stops counting as running when it ends, or after two minutes by itself', async () => {
      const tenantId = await quota.makeTenant({}, '100');
      await put(tenantId, 'running', { per: ['user_id'], period: 'total', limit_concurrent: 1 });
      const first = await ask(tenantId, '0.10', { user_id: 'u' });
      expect((await ask(tenantId, '0.10', { user_id: 'u' })).reason).toMatchObject({ code: 'concurrency_limited', scope: 'rate', retry_after_ms: 1_000 });
      expect((await ask(tenantId, '0.10', { user_id: 'v' })).decision).toBe('allow');
      await call('POST', `/v1/holds/${first.hold.hold_id}/release`, {});
      await ask(tenantId, '0.10', { user_id: 'u' });
      clock.advance(119_999);
      expect((await ask(tenantId, '0.10', { user_id: 'u' })).decision).toBe('block');
      clock.advance(1);
      expect((await ask(tenantId, '0.10', { user_id: 'u' })).decision).toBe('allow');
    });
  });

  describe('downgrade', () => {
    const tokens = { input_tokens: 1_000, max_output_tokens: 1_000 };
    const asking = async (tenantId: string, more: object = {}): Promise<any> =>
      (await quota.ask({ tenant_id: tenantId, provider: 'openai', model: 'gpt-4o', ...tokens, ...more })).body;

    it("beyond a threshold the ladder's first that fits runs; critical calls of a key that may be are spared", async () => {
      const tenantId = await quota.makeTenant({}, '100');
      await call('PUT', `/v1/tenants/${tenantId}/routes`, { 'gpt-4o': ['gpt-4o-mini'] });
      await put(tenantId, 'monthly', { period: 'month', limit_usd: '1.00' });
      await spend(tenantId, '0.79');
      const answer = await asking(tenantId, { call_id: 'moved' });
      expect(answer).toMatchObject({ decision: 'downgrade', model: 'gpt-4o-mini', route: { provider: 'openai', model: 'gpt-4o-mini' } });
      expect(answer.reason).toMatchObject({ code: 'threshold_downgrade', scope: 'budget', budget_id: 'monthly' });
      expect(await asking(tenantId, { call_id: 'moved' })).toMatchObject({ decision: 'downgrade', model: 'gpt-4o-mini', replayed: true, hold: answer.hold });
      const { key } = await call('POST', `/v1/tenants/${tenantId}/keys`, { name: 'night job', allow_critical: true });
      expect(await asking(tenantId, { priority: 'critical' })).toMatchObject({ decision: 'downgrade' });
      expect(await asking(tenantId, { priority: 'critical', api_key: key })).toMatchObject({ decision: 'allow', model: 'gpt-4o' });
    });

    it('a threshold below the limit blocks nobody who has no ladder', async () => {
      const tenantId = await quota.makeTenant({}, '100');
      await put(tenantId, 'monthly', { period: 'month', limit_usd: '1.00' });
      await spend(tenantId, '0.85');
      expect((await ask(tenantId, '0.10')).decision).toBe('allow');
    });

    it('a model that costs nothing stays usable when budget and balance are gone', async () => {
      const tenantId = await quota.makeTenant({}, '1.00');
      await call('PUT', '/v1/routes', { 'gpt-4*': ['free-model'] });
      await put(tenantId, 'monthly', { period: 'month', limit_usd: '1.00' });
      await spend(tenantId, '1.00');
      const answer = await asking(tenantId);
      expect(answer).toMatchObject({ decision: 'downgrade', model: 'free-model', hold: { amount_usd: '0.000000000' }, reason: { code: 'budget_downgrade' } });
      await call('PUT', '/v1/routes', {});
      expect((await asking(tenantId)).decision).toBe('block');
    });

    it('an answer that does not fit is cut to what does, down to 16 tokens and only where its length was given', async () => {
      const tenantId = await quota.makeTenant({}, '100');
      await put(tenantId, 'tokens', { period: 'day', limit_tokens: 1_500 });
      expect(await asking(tenantId)).toMatchObject({ decision: 'allow', model: 'gpt-4o', max_output_tokens: 500, reason: { code: 'ok' } });
      expect((await asking(tenantId)).reason).toMatchObject({ code: 'too_large', budget_id: 'tokens' });
      const other = await quota.makeTenant({}, '100');
      await put(other, 'dollars', { period: 'day', limit_usd: '0.0026' });
      // 1,000 input tokens cost 0.0025; ten output tokens cost 0.0001.
      expect((await asking(other)).decision).toBe('block');
      await put(other, 'dollars', { period: 'day', limit_usd: '0.0030' });
      expect(await asking(other)).toMatchObject({ decision: 'allow', max_output_tokens: 50, hold: { amount_usd: '0.003000000' } });
      const third = await quota.makeTenant({}, '100');
      await put(third, 'dollars', { period: 'day', limit_usd: '0.0030' });
      expect((await quota.ask({ tenant_id: third, provider: 'openai', model: 'gpt-4o', input_tokens: 1_000 })).body.decision).toBe('block');
    });
  });

  describe('crossings', () => {
    it('each threshold leaves one fact per counter and period, also when it is passed again after a restart', async () => {
      const tenantId = await quota.makeTenant({}, '100');
      await put(tenantId, 'user', { per: ['user_id'], period: 'month', limit_usd: '1.00' });
      // With a clock that stands still, ids do not tell an order.
      const crossed = async (): Promise<string[]> =>
        (await api.app.get(CrossingReader).list({ tenantId, limit: 100 }))
          .map(({ periodStartsAt, values, percent, action, metric }) =>
            [periodStartsAt.toISOString().slice(0, 7), values.user_id, percent, action, metric].join(' '),
          )
          .sort();
      await spend(tenantId, '0.40', { user_id: 'a' });
      expect(await crossed()).toEqual([]);
      await spend(tenantId, '0.10', { user_id: 'a' });
      await spend(tenantId, '0.05', { user_id: 'a' });
      expect(await crossed()).toEqual(['2026-11 a 50 notify usd']);
      await quota.rebuild();
      await spend(tenantId, '0.30', { user_id: 'a' });
      await spend(tenantId, '0.01', { user_id: 'a' });
      await spend(tenantId, '0.50', { user_id: 'b' });
      const november = ['2026-11 a 50 notify usd', '2026-11 a 80 downgrade usd', '2026-11 b 50 notify usd'];
      expect(await crossed()).toEqual(november);
      clock.set('2026-12-05T00:00:00.000Z');
      await spend(tenantId, '0.60', { user_id: 'a' });
      expect(await crossed()).toEqual([...november, '2026-12 a 50 notify usd']);
    });
  });

  describe('changes of a budget', () => {
    it('overrides and top-ups count for the next call, for their values and period alone', async () => {
      const tenantId = await quota.makeTenant({}, '100');
      await put(tenantId, 'user', { per: ['user_id'], period: 'month', limit_usd: '1.00' });
      const path = `/v1/tenants/${tenantId}/budgets/user`;
      expect((await ask(tenantId, '1.50', { user_id: 'vip' })).decision).toBe('block');
      const override = await call('POST', `${path}/overrides`, { values: { user_id: 'vip' }, limit_usd: '2.00' });
      expect((await ask(tenantId, '1.50', { user_id: 'vip' })).decision).toBe('allow');
      expect((await ask(tenantId, '1.50', { user_id: 'other' })).decision).toBe('block');
      const topUp = { values: { user_id: 'other' }, amount_usd: '0.60' };
      const first = await call('POST', `${path}/top-ups`, topUp, { 'idempotency-key': 'once' });
      expect(await call('POST', `${path}/top-ups`, topUp, { 'idempotency-key': 'once' })).toEqual(first);
      expect((await ask(tenantId, '1.61', { user_id: 'other' })).decision).toBe('block');
      expect((await ask(tenantId, '1.60', { user_id: 'other' })).decision).toBe('allow');
      clock.set('2026-12-01T00:00:00.000Z');
      expect((await ask(tenantId, '1.10', { user_id: 'other' })).decision).toBe('block');
      await call('DELETE', `${path}/overrides/${override.override_id}`);
      expect((await ask(tenantId, '1.10', { user_id: 'vip' })).decision).toBe('block');
      const { body } = await api.call('GET', `/v1/audit?tenant_id=${tenantId}&entity=budget`);
      expect(body.data.map((entry: { action: string }) => entry.action)).toEqual([
        'budget.override_removed',
        'budget.topped_up',
        'budget.override_put',
        'budget.created',
      ]);
    });

    it('a paused budget refuses nothing and goes on counting; a shadow one tells what it would have done; a deleted one is gone', async () => {
      const tenantId = await quota.makeTenant({}, '100');
      await put(tenantId, 'b', { period: 'month', limit_usd: '1.00' });
      const path = `/v1/tenants/${tenantId}/budgets/b`;
      await call('POST', `${path}/pause`);
      expect(await ask(tenantId, '0.90')).toMatchObject({ decision: 'allow', would: null });
      expect((await ask(tenantId, '0.20')).decision).toBe('allow');
      await call('POST', `${path}/resume`);
      expect((await ask(tenantId, '0.01')).decision).toBe('block');
      await put(tenantId, 'b', { period: 'month', limit_usd: '1.00', enforcement: 'shadow' });
      expect(await ask(tenantId, '0.01')).toMatchObject({ decision: 'allow', would: 'block', reason: { code: 'in_flight_exhausted', budget_id: 'b' } });
      await call('DELETE', path);
      expect(await ask(tenantId, '0.01')).toMatchObject({ decision: 'allow', would: null });
      expect((await api.call('GET', path)).status).toBe(404);
    });

    it('another scope is another version, back-filled from what was booked; another limit keeps what was counted', async () => {
      const tenantId = await quota.makeTenant({}, '100');
      await put(tenantId, 'b', { period: 'month', limit_usd: '5.00' });
      await spend(tenantId, '0.40', { feature: 'chat', user_id: 'u' });
      await spend(tenantId, '0.30', { feature: 'search', user_id: 'u' });
      expect(await put(tenantId, 'b', { period: 'month', limit_usd: '6.00' })).toMatchObject({ version: 1 });
      expect((await statusOf(tenantId, 'b')).data[0].limits[0]).toMatchObject({ limit: '6.000000000', used: '0.700000000' });
      expect(await put(tenantId, 'b', { scope: { feature: 'chat' }, per: ['user_id'], period: 'month', limit_usd: '6.00' })).toMatchObject({
        version: 2,
        warming: false,
      });
      expect((await statusOf(tenantId, 'b')).data).toMatchObject([{ values: { user_id: 'u' }, limits: [{ used: '0.400000000' }] }]);
      await spend(tenantId, '0.10', { feature: 'chat', user_id: 'u' });
      expect((await statusOf(tenantId, 'b')).data[0].limits[0]).toMatchObject({ used: '0.500000000' });
      expect(await put(tenantId, 'b', { period: 'month', limit_usd: '6.00', count_from: 'now' })).toMatchObject({ version: 3 });
      expect((await statusOf(tenantId, 'b')).data[0].limits[0]).toMatchObject({ used: '0.000000000' });
    });

    it('a budget across tenants that counts by tenant gives each its own counter', async () => {
      const [one, other] = [await quota.makeTenant({}, '100'), await quota.makeTenant({}, '100')];
      await call('PUT', '/v1/budgets/each', { per: ['tenant_id'], period: 'day', limit_usd: '1.00' });
      expect([(await ask(one, '0.90')).decision, (await ask(other, '0.90')).decision, (await ask(one, '0.20')).decision]).toEqual(['allow', 'allow', 'block']);
      await call('DELETE', '/v1/budgets/each');
      expect((await ask(one, '0.20')).decision).toBe('allow');
    });

    it('what an event took is given back where it was added when the event is corrected', async () => {
      const tenantId = await quota.makeTenant({}, '100');
      await put(tenantId, 'user', { per: ['user_id'], period: 'month', limit_usd: '10', limit_requests: 100 });
      const { hold } = await ask(tenantId, '1.00', { user_id: 'u', call_id: 'c-1' });
      await settle(hold.hold_id, '0.50');
      // The gateway's later report knows the usage, and no user: it stands where its hold was asked.
      const usage = { input_tokens: 1_000, output_tokens: 100 };
      expect(await quota.report({ event_id: `late-${tenantId}`, tenant_id: tenantId, call_id: 'c-1', hold_id: hold.hold_id, usage })).toMatchObject({
        outcome: 'corrected',
      });
      const { data } = await statusOf(tenantId, 'user');
      expect(data).toMatchObject([
        {
          values: { user_id: 'u' },
          limits: [
            { metric: 'usd', used: '0.003500000', held: '0.000000000' },
            { metric: 'requests', used: '1', held: '0' },
          ],
        },
      ]);
    });
  });

  describe('keys of tenants', () => {
    it('names the tenant, binds the models, and ends with its revocation', async () => {
      const tenantId = await quota.makeTenant({}, '100');
      const made = await call('POST', `/v1/tenants/${tenantId}/keys`, { name: 'app', assistant_id: 'bot', models: ['gpt-4o*'] });
      await put(tenantId, 'key', { scope: { api_key_id: made.api_key_id }, period: 'month', limit_usd: '1.00' });
      await put(tenantId, 'bot', { scope: { assistant_id: 'bot' }, period: 'month', limit_usd: '5.00' });
      const asked = async (body: object): Promise<any> =>
        (await quota.ask({ provider: 'openai', model: 'gpt-4o', estimated_cost_usd: '0.60', api_key: made.key, ...body })).body;
      const first = await asked({ assistant_id: 'somebody else' });
      expect(first).toMatchObject({ decision: 'allow' });
      expect(first.limits.map((limit: any) => [limit.kind, limit.id])).toEqual([
        ['wallet', tenantId],
        ['key', 'key'],
        ['budget', 'bot'],
      ]);
      expect((await asked({})).reason).toMatchObject({ scope: 'key', budget_id: 'key' });
      expect((await asked({ model: 'o1' })).reason.code).toBe('model_not_allowed');
      expect((await asked({ tenant_id: await quota.makeTenant() })).reason.code).toBe('key_revoked');
      await call('DELETE', `/v1/tenants/${tenantId}/keys/${made.api_key_id}`);
      expect((await asked({})).reason.code).toBe('key_revoked');
      expect((await ask(tenantId, '0.10', { api_key_id: made.api_key_id })).reason.code).toBe('key_revoked');
    });

    it('is shown once, listed without its text, rotated to a second one that lives beside it', async () => {
      const tenantId = await quota.makeTenant({}, '100');
      const made = await call('POST', `/v1/tenants/${tenantId}/keys`, { name: 'app' });
      const rotated = await call('POST', `/v1/tenants/${tenantId}/keys/${made.api_key_id}/rotate`);
      expect(rotated.replaces).toBe(made.api_key_id);
      expect((await api.call('POST', `/v1/tenants/${tenantId}/keys/${made.api_key_id}/rotate`)).body.code).toBe('api_key.two_live');
      const list = await call('GET', `/v1/tenants/${tenantId}/keys`);
      expect(list.data.map((key: { api_key_id: string }) => key.api_key_id)).toEqual([rotated.api_key_id, made.api_key_id]);
      expect(JSON.stringify(list)).not.toContain(made.key.slice(-20));
      for (const { key } of [made, rotated])
        expect((await quota.ask({ provider: 'openai', model: 'gpt-4o', estimated_cost_usd: '0.01', api_key: key })).body.decision).toBe('allow');
    });
  });

  it('the loop guard tells of a thread that runs away, and stops nobody unless it is told to', async () => {
    const tenantId = await quota.makeTenant({}, '1000');
    for (let round = 0; round < 6; round += 1) expect(await ask(tenantId, '4.00', { thread_id: 'loop' })).toMatchObject({ decision: 'allow', would: null });
    expect(await ask(tenantId, '4.00', { thread_id: 'loop' })).toMatchObject({
      decision: 'allow',
      would: 'block',
      reason: { budget_id: 'builtin:loop-guard' },
    });
    expect(await ask(tenantId, '4.00', { thread_id: 'calm' })).toMatchObject({ would: null });
    clock.advance(61 * MINUTE_MS);
    expect(await ask(tenantId, '4.00', { thread_id: 'loop' })).toMatchObject({ would: null });
  });

  it('tags narrow a budget, and an extension is held to it', async () => {
    const tenantId = await quota.makeTenant({}, '100');
    await put(tenantId, 'team', { scope: { tags: { team: 'a' } }, period: 'day', limit_tokens: 3_000 });
    const tokens = { input_tokens: 500, max_output_tokens: 1_000 };
    const { hold } = await ask(tenantId, '0.10', { tags: { team: 'a' }, ...tokens });
    expect((await ask(tenantId, '0.10', { tags: { team: 'b' }, ...tokens })).limits).toHaveLength(1);
    const extend = async (outputTokens: number) =>
      (await api.call('POST', `/v1/holds/${hold.hold_id}/extend`, { body: { output_tokens: outputTokens } })).status;
    expect(await extend(2_501)).toBe(409);
    expect(await extend(2_500)).toBe(200);
    expect((await statusOf(tenantId, 'team')).data[0].limits[0]).toMatchObject({ held: '3000' });
  });
});
