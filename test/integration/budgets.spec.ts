import type { TestApi } from '../support/api.js';
import { describeOnStores } from '../support/on-stores.js';
import { QuotaTestApi } from '../support/quota-api.js';
import { settleEverything, sweepHolds } from '../support/posting.js';

const MINUTE_MS = 60_000;

describeOnStores('budgets', ({ start, tenants }) => {
  let api: TestApi;
  let quota: QuotaTestApi;
  beforeAll(async () => {
    api = await start();
    quota = new QuotaTestApi(api, tenants);
  });
  afterAll(async () => await api.close());

  const put = async (tenantId: string, budgetId: string, body: object): Promise<any> => {
    const answer = await api.call('PUT', `/v1/tenants/${tenantId}/budgets/${budgetId}`, { body });
    if (answer.status >= 300) throw new Error(JSON.stringify(answer.body));
    return answer.body;
  };
  const limitOf = (answer: { body: any }, id: string, metric = 'usd'): any =>
    answer.body.limits.find((limit: { id: string; metric: string }) => limit.id === id && limit.metric === metric);
  const settle = async (holdId: string, costUsd: string): Promise<void> => {
    await api.call('POST', `/v1/holds/${holdId}/settle`, { body: { cost_usd: costUsd } });
    await settleEverything(api.app);
  };
  const release = async (holdId: string): Promise<void> => void (await api.call('POST', `/v1/holds/${holdId}/release`, { body: {} }));

  describe('overspend', () => {
    it('parallel calls of one user never pass its budget, and all of it can be used', async () => {
      const tenantId = await quota.makeTenant({}, '1000');
      await put(tenantId, 'per-user', { per: ['user_id'], period: 'month', limit_usd: '1.00' });
      const answers = await Promise.all(Array.from({ length: 50 }, async () => (await quota.askFor(tenantId, '0.10', { user_id: 'u1' })).body));
      expect(answers.filter((answer) => answer.decision === 'allow')).toHaveLength(10);
      expect(answers.filter((answer) => answer.decision === 'block').map((answer) => answer.reason.code)).toEqual(Array(40).fill('in_flight_exhausted'));
    });

    it('the first call of a user nobody has seen is held to the budget', async () => {
      const tenantId = await quota.makeTenant({}, '1000');
      await put(tenantId, 'per-user', { per: ['user_id'], period: 'month', limit_usd: '1.00' });
      expect((await quota.askFor(tenantId, '1.01', { user_id: 'new' })).body).toMatchObject({
        decision: 'block',
        reason: { code: 'too_large', scope: 'budget', budget_id: 'per-user', retry_after_ms: null },
      });
    });

    it('a budget that is used up blocks until its period ends, and says when', async () => {
      const tenantId = await quota.makeTenant({}, '1000');
      await put(tenantId, 'monthly', { period: 'month', limit_usd: '1.00' });
      const { body } = await quota.askFor(tenantId, '1.00');
      await settle(body.hold.hold_id, '1.00');
      const refused = await quota.askFor(tenantId, '0.10');
      const left = Date.parse('2026-12-01T00:00:00Z') - api.clock.now().getTime();
      expect(refused.body).toMatchObject({ decision: 'block', reason: { code: 'budget_exhausted', budget_id: 'monthly', retry_after_ms: left } });
      expect(limitOf(refused, 'monthly')).toMatchObject({
        used: '1.000000000',
        held: '0.000000000',
        remaining: '0.000000000',
        resets_at: '2026-12-01T00:00:00.000Z',
      });
    });

    it('what was spent before a budget was set counts from the start of its period', async () => {
      const tenantId = await quota.makeTenant({}, '1000');
      const { body } = await quota.askFor(tenantId, '0.80', { feature: 'chat' });
      await settle(body.hold.hold_id, '0.80');
      expect(await put(tenantId, 'chat', { scope: { feature: 'chat' }, period: 'month', limit_usd: '1.00' })).toMatchObject({ warming: false });
      expect((await quota.askFor(tenantId, '0.30', { feature: 'chat' })).body.reason.code).toBe('budget_exhausted');
      expect((await quota.askFor(tenantId, '0.20', { feature: 'chat' })).body.decision).toBe('allow');
    });

    it('a call that runs when a budget is set counts for it', async () => {
      const tenantId = await quota.makeTenant({}, '1000');
      await quota.askFor(tenantId, '0.80');
      await put(tenantId, 'all', { period: 'month', limit_usd: '1.00' });
      expect((await quota.askFor(tenantId, '0.30')).body.reason).toMatchObject({ code: 'in_flight_exhausted', budget_id: 'all' });
    });
  });

  describe('H4 all limits of a call are taken or none', () => {
    it('a call that one of five limits refuses leaves the others as they were', async () => {
      const tenantId = await quota.makeTenant({}, '1000');
      // What everybody may take together is just what fits.
      await put(tenantId, 'all', { period: 'month', limit_usd: '1.00' });
      await put(tenantId, 'user', { per: ['user_id'], period: 'day', limit_usd: '100', limit_requests: 3 });
      await put(tenantId, 'running', { period: 'total', limit_concurrent: 2 });
      await put(tenantId, 'minute', { period: { rolling_seconds: 60 }, limit_tokens: 1_000_000 });
      const ask = async () => await quota.askFor(tenantId, '0.10', { user_id: 'u', input_tokens: 10, max_output_tokens: 10 });
      const first = await ask();
      const second = await ask();
      const third = await ask();
      expect([first, second, third].map((answer) => answer.body.reason.code)).toEqual(['ok', 'ok', 'concurrency_limited']);
      expect(limitOf(third, 'all')).toMatchObject({ held: '0.200000000' });
      expect(limitOf(third, 'user', 'requests')).toMatchObject({ held: '2' });
      expect(limitOf(third, 'minute', 'tokens')).toMatchObject({ held: '40' });
      expect(await quota.balanceOf(tenantId)).toMatchObject({ held_usd: '0.200000000' });
      for (const answer of [first, second]) await release(answer.body.hold.hold_id);
      const { body } = await api.call('GET', `/v1/tenants/${tenantId}/limits?user_id=u`);
      expect(body.data.map((limit: { held: string }) => Number(limit.held))).toEqual(body.data.map(() => 0));
    });
  });

  describe('false blocks', () => {
    it('500 refused calls of an exhausted user refuse none of 250 fitting calls of another', async () => {
      const tenantId = await quota.makeTenant({}, '1000');
      await put(tenantId, 'per-user', { per: ['user_id'], period: 'month', limit_usd: '0.50' });
      await put(tenantId, 'all', { period: 'month', limit_usd: '100' });
      await quota.askFor(tenantId, '0.50', { user_id: 'spender' });
      const refused = Array.from({ length: 500 }, async () => (await quota.askFor(tenantId, '0.20', { user_id: 'spender' })).body.decision);
      const fitting = Array.from({ length: 250 }, async () => (await quota.askFor(tenantId, '0.002', { user_id: 'saver' })).body.decision);
      expect(new Set(await Promise.all(refused))).toEqual(new Set(['block']));
      expect(new Set(await Promise.all(fitting))).toEqual(new Set(['allow']));
    }, 120_000);

    it('a settled call holds nothing, a call nobody reported holds nothing after its time, and what is used is what was charged', async () => {
      const tenantId = await quota.makeTenant({ unresolved_policy: 'release' }, '1000');
      await put(tenantId, 'monthly', { period: 'month', limit_usd: '1.00' });
      const first = await quota.askFor(tenantId, '0.90');
      await settle(first.body.hold.hold_id, '0.15');
      expect(limitOf(await quota.askFor(tenantId, '0.80'), 'monthly')).toMatchObject({ used: '0.150000000', held: '0.800000000' });
      api.clock.advance(16 * MINUTE_MS);
      await sweepHolds(api.app);
      expect(limitOf(await quota.askFor(tenantId, '0.85'), 'monthly')).toMatchObject({ used: '0.150000000', held: '0.850000000' });
    });

    it('a tenant without budgets is told of none', async () => {
      const tenantId = await quota.makeTenant({}, '10');
      const answer = await quota.askFor(tenantId, '1', { user_id: 'u' });
      expect(answer.body.limits.map((limit: { kind: string }) => limit.kind)).toEqual(['wallet']);
    });

    it('a restart brings used and held back to the figures before it', async () => {
      const tenantId = await quota.makeTenant({ hold_durability: 'strict' }, '1000');
      await put(tenantId, 'user', { per: ['user_id'], period: 'month', limit_usd: '5', limit_requests: 100 });
      const first = await quota.askFor(tenantId, '0.40', { user_id: 'u' });
      await quota.askFor(tenantId, '0.30', { user_id: 'u' });
      await settle(first.body.hold.hold_id, '0.25');
      const limits = async () => (await api.call('GET', `/v1/tenants/${tenantId}/limits?user_id=u`)).body.data.slice(1);
      const before = await limits();
      expect(before.map((limit: any) => [limit.metric, limit.used, limit.held])).toEqual([
        ['usd', '0.250000000', '0.300000000'],
        ['requests', '1', '1'],
      ]);
      await quota.rebuild();
      expect(await limits()).toEqual(before);
    });
  });
});
