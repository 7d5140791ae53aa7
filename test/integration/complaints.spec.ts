/** What users of other gateways complain about, each as the guarantee that it does not happen here; the name says where it was reported. */
import { RaiseNotedAlerts } from '#libs/alerting/index.js';
import { FixedClock } from '#libs/kernel/testing/fixed-clock.js';
import { QuotaStore, TellCrossings } from '#libs/quota/index.js';
import { startTestApi, type TestApi } from '../support/api.js';
import { settleEverything, sweepHolds } from '../support/posting.js';
import { QuotaTestApi } from '../support/quota-api.js';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const NOON = '2026-11-22T12:00:00.000Z';

describe('complaints about budgets elsewhere', () => {
  let api: TestApi;
  let quota: QuotaTestApi;
  const clock = new FixedClock(NOON);
  let events = 0;
  beforeAll(async () => {
    api = await startTestApi({ clock });
    quota = new QuotaTestApi(api);
  });
  afterAll(async () => await api.close());
  beforeEach(() => clock.set(NOON));

  const put = async (tenantId: string, budgetId: string, body: object): Promise<any> => {
    const answer = await api.call('PUT', `/v1/tenants/${tenantId}/budgets/${budgetId}`, { body });
    if (answer.status >= 300) throw new Error(JSON.stringify(answer.body));
    return answer.body;
  };
  const ask = async (tenantId: string, costUsd: string, more: object = {}): Promise<any> => (await quota.askFor(tenantId, costUsd, more)).body;
  const code = async (tenantId: string, costUsd: string, more: object = {}): Promise<string> => (await ask(tenantId, costUsd, more)).reason.code;
  const settle = async (holdId: string, costUsd: string): Promise<void> => {
    await api.call('POST', `/v1/holds/${holdId}/settle`, { body: { cost_usd: costUsd } });
    await settleEverything(api.app);
  };
  const release = async (holdId: string): Promise<void> => void (await api.call('POST', `/v1/holds/${holdId}/release`, { body: {} }));
  /** gpt-4o: ten dollars per million output tokens. */
  const spend = async (tenantId: string, cents: number, more: object = {}): Promise<void> => {
    events += 1;
    await quota.report({ event_id: `complaint-${events}`, tenant_id: tenantId, usage: { output_tokens: cents * 1_000 }, ...more });
  };
  const lineOf = async (tenantId: string, id: string, query = ''): Promise<any> =>
    (await api.call('GET', `/v1/tenants/${tenantId}/limits${query}`)).body.data.find((line: any) => line.id === id);

  describe('overspend and races', () => {
    it('LL#34732 parallel calls of one session never pass its budget', async () => {
      const tenantId = await quota.makeTenant({}, '100');
      await put(tenantId, 'session', { per: ['thread_id'], period: 'day', limit_usd: '0.50' });
      const codes = await Promise.all(Array.from({ length: 40 }, async () => await code(tenantId, '0.05', { thread_id: 't1' })));
      expect(codes.filter((each) => each === 'ok')).toHaveLength(10);
    });

    it('LL#40095 the first calls of an end user nobody has seen are held to the default budget, also when they come together', async () => {
      const tenantId = await quota.makeTenant({}, '100');
      await put(tenantId, 'default', { per: ['user_id'], period: 'month', limit_usd: '0.10' });
      const codes = await Promise.all(Array.from({ length: 10 }, async () => await code(tenantId, '0.06', { user_id: 'never seen' })));
      expect(codes.filter((each) => each === 'ok')).toHaveLength(1);
    });

    it.each([
      ['LL#26672', 'a key', { api_key_id: 'key-1' }],
      ['LL#23714', 'a user', { user_id: 'u1' }],
      ['LL#11083', 'an end user of a feature', { user_id: 'u1', feature: 'chat' }],
    ])('%s once the budget of %s is spent no call goes on, and nobody else is stopped', async (_issue, _what, who) => {
      const tenantId = await quota.makeTenant({}, '100');
      await put(tenantId, 'own', { scope: who, period: 'month', limit_usd: '0.20' });
      await settle((await ask(tenantId, '0.20', who)).hold.hold_id, '0.20');
      for (let call = 0; call < 3; call += 1) expect(await code(tenantId, '0.01', who)).toBe('budget_exhausted');
      expect(await code(tenantId, '0.01', { user_id: 'other', api_key_id: 'other' })).toBe('ok');
    });

    it('NA#6609 checking and taking are one step: of 200 calls at once on a dollar exactly those pass that it covers', async () => {
      const tenantId = await quota.makeTenant({}, '1.00');
      const codes = await Promise.all(Array.from({ length: 200 }, async () => await code(tenantId, '0.03')));
      expect(codes.filter((each) => each === 'ok')).toHaveLength(33);
      expect((await quota.balanceOf(tenantId)).available_usd).toBe('0.010000000');
    });

    it('BF#2873 a call that nobody asked about, only reported, uses up the budget of its key', async () => {
      const tenantId = await quota.makeTenant({}, '100');
      await put(tenantId, 'key', { scope: { api_key_id: 'k' }, period: 'month', limit_usd: '0.20' });
      await spend(tenantId, 25, { api_key_id: 'k' });
      expect(await ask(tenantId, '0.01', { api_key_id: 'k' })).toMatchObject({ decision: 'block', reason: { code: 'budget_exhausted', scope: 'key' } });
    });

    it('BF#5673 the budget of a key is saved, read back and enforced, and is after a restart', async () => {
      const tenantId = await quota.makeTenant({}, '100');
      const body = { scope: { api_key_id: 'k' }, period: 'day', limit_usd: '0.100000000', limit_requests: '3' };
      await put(tenantId, 'key', { ...body, limit_requests: 3 });
      await quota.rebuild();
      expect((await api.call('GET', `/v1/tenants/${tenantId}/budgets/key`)).body).toMatchObject(body);
      expect(await code(tenantId, '0.11', { api_key_id: 'k' })).toBe('too_large');
    });

    it('AU#3230 AU#2153 AU#630 a credit, a change of plan or rules, and a rebuild in the middle of running calls lose nothing that was taken', async () => {
      const tenantId = await quota.makeTenant({ hold_durability: 'strict' }, '10.00');
      await put(tenantId, 'all', { period: 'month', limit_usd: '8.00' });
      const take = Array.from({ length: 30 }, async (_, call) => {
        const { hold } = await ask(tenantId, '0.10');
        if (call % 2 === 0) await settle(hold.hold_id, '0.10');
      });
      const meanwhile = [
        quota.credit(tenantId, '5.00'),
        api.call('PUT', `/v1/tenants/${tenantId}`, { body: { name: 'renamed' } }),
        put(tenantId, 'other', { period: 'day', limit_usd: '9.00' }),
        api.app.get(QuotaStore).forget(tenantId),
      ];
      await Promise.all([...take, ...meanwhile]);
      await settleEverything(api.app);
      const taken = { used: '1.500000000', held: '1.500000000' };
      expect(await quota.balanceOf(tenantId)).toMatchObject({ posted_usd: '13.500000000', held_usd: '1.500000000', available_usd: '12.000000000' });
      expect([await lineOf(tenantId, 'all'), await lineOf(tenantId, 'other')]).toMatchObject([taken, taken]);
    });

    it("routstr#682 a stream that outlives its hold is charged all the same, and one that costs more eats into nobody else's hold", async () => {
      const tenantId = await quota.makeTenant({ unresolved_policy: 'release' }, '1.00');
      const long = await ask(tenantId, '0.20');
      const other = await ask(tenantId, '0.30');
      await api.call('POST', `/v1/holds/${other.hold.hold_id}/extend`, { body: { ttl_ms: 2 * HOUR_MS } });
      clock.advance(20 * MINUTE_MS);
      await sweepHolds(api.app);
      expect((await quota.balanceOf(tenantId)).held_usd).toBe('0.300000000');
      await spend(tenantId, 60, { hold_id: long.hold.hold_id });
      expect(await quota.balanceOf(tenantId)).toMatchObject({ posted_usd: '0.400000000', held_usd: '0.300000000', available_usd: '0.100000000' });
    });

    it('Helicone#4492 what a call may cost is worked out for its model: no flat cent, so a small limit holds for the very first call', async () => {
      const tenantId = await quota.makeTenant({}, '100');
      await put(tenantId, 'small', { period: 'day', limit_usd: '0.02' });
      const { body } = await quota.ask({ tenant_id: tenantId, provider: 'openai', model: 'gpt-4o', input_tokens: 100 });
      expect(body).toMatchObject({ decision: 'block', estimate: { cost_usd: '0.041210000', basis: 'default' }, reason: { code: 'too_large' } });
    });
  });

  describe('false blocks', () => {
    it('LL#27639 LL#36592 holds that nobody reported or that were passed through give everything back: near no spend, nobody is refused', async () => {
      const tenantId = await quota.makeTenant({ unresolved_policy: 'release' }, '100');
      await put(tenantId, 'key', { scope: { api_key_id: 'k' }, period: 'month', limit_usd: '1.00' });
      for (let round = 0; round < 5; round += 1) {
        const { hold } = await ask(tenantId, '0.50', { api_key_id: 'k' });
        await ask(tenantId, '0.50', { api_key_id: 'k' });
        await release(hold.hold_id);
        clock.advance(16 * MINUTE_MS);
        await sweepHolds(api.app);
      }
      await spend(tenantId, 0.4, { api_key_id: 'k' });
      expect(await lineOf(tenantId, 'key', '?api_key_id=k')).toMatchObject({ used: '0.004000000', held: '0.000000000' });
      expect(await code(tenantId, '0.99', { api_key_id: 'k' })).toBe('ok');
    });

    it('LL#36926 LL#30460 LL#40050 LL#27735 what is enforced is what was charged: after retries, late and repeated reports, corrections and time-outs', async () => {
      const tenantId = await quota.makeTenant({ unresolved_policy: 'charge_hold' }, '100');
      await put(tenantId, 'all', { period: 'month', limit_usd: '50.00' });
      for (let round = 0; round < 6; round += 1) {
        const { hold } = await ask(tenantId, '0.50', { call_id: `call-${round}` });
        const event = { tenant_id: tenantId, event_id: `drift-${round}`, call_id: `call-${round}`, hold_id: hold.hold_id };
        if (round % 3 === 1) {
          clock.advance(16 * MINUTE_MS);
          await sweepHolds(api.app);
        }
        if (round % 3 === 2) await settle(hold.hold_id, '0.45');
        for (let time = 0; time < 3; time += 1) await quota.report({ ...event, usage: { output_tokens: 20_000 } });
        await quota.report({ ...event, event_id: `retry-${round}`, status: 'error', usage: { input_tokens: 0 } });
      }
      const [row] = await api.database.db.query<{ charged: bigint }>(
        `SELECT sum(charge_nano)::bigint AS charged FROM (SELECT DISTINCT ON (event_id) state, charge_nano FROM metering.posting WHERE tenant_id = $1 ORDER BY event_id, revision DESC) last
         WHERE state = 'posted'`,
        [tenantId],
      );
      expect(row?.charged).toBe(1_200_000_000n);
      expect(await lineOf(tenantId, 'all')).toMatchObject({ used: '1.200000000', held: '0.000000000' });
      await quota.rebuild();
      expect(await lineOf(tenantId, 'all')).toMatchObject({ used: '1.200000000', held: '0.000000000' });
    });

    it('LL#29493 nobody has to turn holds off: a budget in shadow tells what it would have refused, and refuses nothing', async () => {
      const tenantId = await quota.makeTenant({}, '100');
      await put(tenantId, 'trying', { period: 'month', limit_usd: '0.10', enforcement: 'shadow' });
      expect(await ask(tenantId, '0.50')).toMatchObject({ decision: 'allow', would: 'block', reason: { budget_id: 'trying' } });
    });

    it('LL#30039 a counter that is lost does not open the gate: it is read again before anybody is answered', async () => {
      const tenantId = await quota.makeTenant({}, '100');
      await put(tenantId, 'all', { period: 'month', limit_usd: '0.20' });
      await settle((await ask(tenantId, '0.20')).hold.hold_id, '0.20');
      await api.app.get(QuotaStore).forget(tenantId);
      expect(await code(tenantId, '0.01')).toBe('budget_exhausted');
    });

    it('LL#20615 LL#22726 where no budget is set none is exceeded', async () => {
      const tenantId = await quota.makeTenant({ billing: 'postpaid' }, '0');
      for (let call = 0; call < 20; call += 1) await spend(tenantId, 100, { user_id: 'u', api_key_id: 'k' });
      expect(await ask(tenantId, '5.00', { user_id: 'u', api_key_id: 'k' })).toMatchObject({ decision: 'allow', reason: { code: 'ok' } });
    });

    it('LL#34492 a new window on an old key counts what is in the window, or from now on where that is asked, and not its whole past', async () => {
      const tenantId = await quota.makeTenant({}, '100');
      await spend(tenantId, 500, { api_key_id: 'old' });
      clock.advance(2 * HOUR_MS);
      await spend(tenantId, 3, { api_key_id: 'old' });
      await put(tenantId, 'window', { scope: { api_key_id: 'old' }, period: { rolling_seconds: 3_600 }, limit_usd: '0.10' });
      await put(tenantId, 'fresh', { scope: { api_key_id: 'old' }, period: 'total', limit_usd: '0.10', count_from: 'now' });
      expect(await lineOf(tenantId, 'window', '?api_key_id=old')).toMatchObject({ used: '0.030000000' });
      expect(await lineOf(tenantId, 'fresh', '?api_key_id=old')).toMatchObject({ used: '0.000000000' });
      expect(await code(tenantId, '0.05', { api_key_id: 'old' })).toBe('ok');
    });
  });

  describe('windows and resets', () => {
    it('LL#24675 LL#7129 LL#5651 LL#8364 the next period begins by itself, at nothing and with the same limit, for every user', async () => {
      const tenantId = await quota.makeTenant({}, '1000');
      await put(tenantId, 'users', { per: ['user_id'], period: 'day', limit_usd: '1.00' });
      const users = ['a', 'b', 'c'];
      for (let day = 0; day < 4; day += 1) {
        for (const user_id of users) {
          expect(await lineOf(tenantId, 'users', `?user_id=${user_id}`)).toMatchObject({ used: '0.000000000', limit: '1.000000000' });
          await spend(tenantId, 100, { user_id });
          expect(await code(tenantId, '0.01', { user_id })).toBe('budget_exhausted');
        }
        clock.advance(24 * HOUR_MS);
      }
    });

    it('LL#40940 no process has to be told of a new period: two that share nothing but the database both begin it', async () => {
      const tenantId = await quota.makeTenant({}, '100');
      await put(tenantId, 'all', { period: 'month', limit_usd: '1.00' });
      await spend(tenantId, 100);
      expect(await code(tenantId, '0.50')).toBe('budget_exhausted');
      const other = await startTestApi({ clock, database: api.database });
      clock.set('2026-12-01T00:00:00.000Z');
      const asked = await other.call('POST', '/v1/authorize', {
        body: { tenant_id: tenantId, provider: 'openai', model: 'gpt-4o', estimated_cost_usd: '0.20' },
      });
      expect(asked.body.reason.code).toBe('ok');
      await other.close();
      await quota.rebuild();
      expect(await code(tenantId, '0.20')).toBe('ok');
    });

    it('BF#5770 a rule of percent acts at that percent of its limit: nothing happens at $0.40 of $15', async () => {
      const tenantId = await quota.makeTenant({}, '100');
      await api.call('PUT', `/v1/tenants/${tenantId}/routes`, { body: { 'gpt-4o': ['gpt-4o-mini'] } });
      await put(tenantId, 'percent', { period: 'month', limit_usd: '15.00' });
      await spend(tenantId, 40);
      await api.app.get(TellCrossings).execute();
      await api.app.get(RaiseNotedAlerts).execute();
      expect((await api.call('GET', `/v1/alerts?tenant_id=${tenantId}&kind=threshold.crossed`)).body.data).toEqual([]);
      expect(await ask(tenantId, '0.01')).toMatchObject({ decision: 'allow', model: 'gpt-4o' });
      await spend(tenantId, 1_160);
      expect(await ask(tenantId, '0.01')).toMatchObject({ decision: 'downgrade', model: 'gpt-4o-mini', reason: { code: 'threshold_downgrade' } });
    });

    it("Autumn 2026-08-14 a period is one of the tenant's own clocks, or rolls: neither is tied to UTC", async () => {
      const tenantId = await quota.makeTenant({ timezone: 'Pacific/Auckland' }, '100');
      await put(tenantId, 'month', { period: 'month', limit_usd: '1.00' });
      expect(await lineOf(tenantId, 'month')).toMatchObject({ resets_at: '2026-11-30T11:00:00.000Z' });
    });
  });
});
