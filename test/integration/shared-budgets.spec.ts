/** Budgets that all tenants share, over HTTP and PostgreSQL: one limit, leased to whoever calls. */
import { CountSharedBudgets, HoldJournal, ReclaimLeases } from '#libs/quota/index.js';
import { startTestApi, type TestApi } from '../support/api.js';
import { QuotaTestApi } from '../support/quota-api.js';
import { raiseAlerts, settleEverything, sweepHolds } from '../support/posting.js';

const MINUTE_MS = 60_000;
let budgets = 0;

describe('budgets that all tenants share', () => {
  let api: TestApi;
  let quota: QuotaTestApi;
  beforeAll(async () => {
    api = await startTestApi();
    quota = new QuotaTestApi(api);
  });
  afterAll(async () => await api.close());

  const call = async (method: string, path: string, body?: object, headers: Record<string, string> = {}): Promise<any> => {
    const answer = await api.call(method, path, { headers, ...(body === undefined ? {} : { body }) });
    if (answer.status >= 300) throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.body;
  };
  /** A budget for one feature of this test, so that no other test's calls count. */
  const share = async (body: object): Promise<{ id: string; feature: string }> => {
    budgets += 1;
    const [id, feature] = [`shared-${budgets}`, `feature-${budgets}`];
    await call('PUT', `/v1/budgets/${id}`, { scope: { feature }, thresholds: [], ...body });
    return { id, feature };
  };
  const tenants = async (count: number): Promise<string[]> => {
    const ids: string[] = [];
    for (let index = 0; index < count; index += 1) ids.push(await quota.makeTenant({ unresolved_policy: 'release' }, '1000'));
    return ids;
  };
  const ask = async (tenantId: string, costUsd: string, more: object): Promise<any> => (await quota.askFor(tenantId, costUsd, more)).body;
  const settle = async (holdId: string, costUsd: string): Promise<void> => {
    await call('POST', `/v1/holds/${holdId}/settle`, { cost_usd: costUsd });
    await settleEverything(api.app);
    await api.app.get(CountSharedBudgets).execute();
  };
  const statusOf = async (id: string): Promise<any> => {
    await api.app.get(CountSharedBudgets).execute();
    return await call('GET', `/v1/budgets/${id}/status`);
  };
  const reclaimIdle = async (): Promise<void> => {
    for (let look = 0; look < 2; look += 1) {
      api.clock.advance(MINUTE_MS + 1);
      await api.app.get(ReclaimLeases).execute();
    }
  };

  it('H7 calls of many tenants at once are allowed exactly as far as the limit goes', async () => {
    const { feature } = await share({ period: 'month', limit_usd: '1.00' });
    const ids = await tenants(5);
    const answers = await Promise.all(Array.from({ length: 60 }, async (_value, index) => await ask(ids[index % 5] ?? '', '0.05', { feature })));
    expect(answers.filter(({ decision }) => decision === 'allow')).toHaveLength(20);
    expect(new Set(answers.filter(({ decision }) => decision === 'block').map(({ reason }) => reason.code))).toEqual(new Set(['global_lease']));
  });

  it('what one tenant leaves unused is there for another that needs it, up to the last cent', async () => {
    const { feature } = await share({ period: 'month', limit_usd: '1.00' });
    const [one = '', other = ''] = await tenants(2);
    expect((await ask(one, '0.01', { feature })).decision).toBe('allow');
    expect((await ask(other, '0.70', { feature })).decision).toBe('allow');
    await reclaimIdle();
    expect((await ask(other, '0.29', { feature })).decision).toBe('allow');
    expect((await ask(one, '0.01', { feature })).reason).toMatchObject({ code: 'global_lease', scope: 'budget', retry_after_ms: 1_000 });
  });

  it('says that it is spent when it is, and until when; the next period begins at zero', async () => {
    const { id, feature } = await share({ period: 'day', limit_usd: '1.00' });
    const [one = '', other = ''] = await tenants(2);
    const { hold } = await ask(one, '1.00', { feature });
    expect((await ask(other, '0.10', { feature })).reason.code).toBe('global_lease');
    await settle(hold.hold_id, '1.00');
    api.clock.advance(1_000);
    const refused = await ask(other, '0.10', { feature });
    const left = Date.parse('2026-11-23T00:00:00Z') - api.clock.now().getTime();
    expect(refused.reason).toMatchObject({ code: 'budget_exhausted', scope: 'budget', budget_id: id, retry_after_ms: left });
    api.clock.advance(left);
    expect((await ask(other, '0.10', { feature })).decision).toBe('allow');
  });

  it('a tenant is told what it used itself, and nothing of the others', async () => {
    const { id, feature } = await share({ period: 'month', limit_usd: '1.00' });
    const [one = '', other = ''] = await tenants(2);
    await ask(one, '0.60', { feature });
    const { limits } = await ask(other, '0.10', { feature });
    const own = { id, metric: 'usd', limit: '1.000000000', used: '0.000000000', held: '0.100000000', remaining: '0.900000000' };
    expect(limits.find((limit: any) => limit.id === id)).toMatchObject(own);
    const { data } = await call('GET', `/v1/tenants/${other}/limits?feature=${feature}`);
    expect(data.find((limit: any) => limit.id === id)).toMatchObject(own);
    const key = await api.makeKey({ scopes: ['read'], tenant_id: other });
    for (const path of [`/v1/budgets/${id}`, `/v1/budgets/${id}/status`, '/v1/budgets', `/v1/budgets/${id}/overrides`])
      expect((await api.call('GET', path, { key })).status).toBe(403);
  });

  it('the status tells what all tenants booked, and what is set aside for their calls', async () => {
    const { id, feature } = await share({ period: 'month', limit_usd: '1.00', limit_requests: 100, per: ['model'] });
    const [one = '', other = ''] = await tenants(2);
    for (const tenantId of [one, other]) await settle((await ask(tenantId, '0.20', { feature })).hold.hold_id, '0.15');
    await reclaimIdle();
    await ask(one, '0.10', { feature });
    const { data } = await statusOf(id);
    expect(data).toMatchObject([
      {
        values: { model: 'gpt-4o' },
        limits: [
          { metric: 'usd', used: '0.300000000', limit: '1.000000000' },
          { metric: 'requests', used: '2' },
        ],
      },
    ]);
    const held = Number(data[0].limits[0].held);
    expect([held >= 0.1, held <= 0.7, Number(data[0].limits[0].remaining)]).toEqual([true, true, Math.round(1e9 * (0.7 - held)) / 1e9]);
  });

  it.each([
    ['tokens', { period: 'month', limit_tokens: 400 }, { input_tokens: 50, max_output_tokens: 50 }],
    ['requests', { period: { rolling_seconds: 60 }, limit_requests: 4 }, {}],
    ['running calls', { period: 'total', limit_concurrent: 4 }, {}],
    ['rolling dollars', { period: { rolling_seconds: 3_600 }, limit_usd: '0.04' }, {}],
  ])('%s: four calls of three tenants fit, and no fifth', async (_metric, budget, more) => {
    const { feature } = await share(budget);
    const ids = await tenants(3);
    const decisions: string[] = [];
    for (let index = 0; index < 5; index += 1) decisions.push((await ask(ids[index % 3] ?? '', '0.01', { feature, ...more })).decision);
    expect(decisions).toEqual(['allow', 'allow', 'allow', 'allow', 'block']);
  });

  it('a rolling window lets go what has left it, whoever asks then', async () => {
    const { feature } = await share({ period: { rolling_seconds: 60 }, limit_requests: 2 });
    const ids = await tenants(3);
    for (const tenantId of ids.slice(0, 2)) await settle((await ask(tenantId, '0.01', { feature })).hold.hold_id, '0.01');
    expect((await ask(ids[2] ?? '', '0.01', { feature })).decision).toBe('block');
    api.clock.advance(62_000);
    expect((await ask(ids[2] ?? '', '0.01', { feature })).decision).toBe('allow');
  });

  it('what is booked without being asked for counts, and so does what a call costs above its hold', async () => {
    const { id, feature } = await share({ period: 'month', limit_usd: '1.00' });
    const [one = '', other = ''] = await tenants(2);
    const { hold } = await ask(one, '0.10', { feature });
    await settle(hold.hold_id, '0.70');
    expect((await ask(other, '0.31', { feature })).decision).toBe('block');
    api.clock.advance(1_000);
    expect((await ask(other, '0.30', { feature })).decision).toBe('allow');
    expect((await statusOf(id)).data[0].limits[0]).toMatchObject({ used: '0.700000000', held: '0.300000000', remaining: '0.000000000' });
  });

  it('a cheaper model is preferred once all tenants together have passed that threshold', async () => {
    const { feature } = await share({
      period: 'month',
      limit_usd: '1.00',
      thresholds: [
        { percent: 50, action: 'downgrade' },
        { percent: 100, action: 'block' },
      ],
    });
    const [one = '', other = ''] = await tenants(2);
    for (const tenantId of [one, other]) await call('PUT', `/v1/tenants/${tenantId}/routes`, { 'gpt-4o': ['gpt-4o-mini'] });
    const tokens = { estimated_cost_usd: undefined, input_tokens: 1_000, max_output_tokens: 20_000, feature };
    expect((await ask(one, '0.45', { feature })).decision).toBe('allow');
    // 0.2025 as asked: more than what is left below a half.
    const moved = await ask(other, '', tokens);
    expect(moved).toMatchObject({ decision: 'downgrade', model: 'gpt-4o-mini', reason: { code: 'threshold_downgrade' } });
    const { hold } = moved;
    await call('POST', `/v1/holds/${hold.hold_id}/release`, {});
    await reclaimIdle();
    expect((await ask(one, '0.04', { feature })).decision).toBe('allow');
  });

  it('a lower limit counts for what was set aside before, a top-up and an override for what comes', async () => {
    const { id, feature } = await share({ period: 'month', limit_usd: '10.00', per: ['user_id'] });
    const [one = '', other = ''] = await tenants(2);
    const said = { feature, user_id: 'u' };
    for (const tenantId of [one, other]) expect((await ask(tenantId, '0.50', said)).decision).toBe('allow');
    await call('PUT', `/v1/budgets/${id}`, { scope: { feature }, thresholds: [], period: 'month', limit_usd: '1.10', per: ['user_id'] });
    expect((await ask(one, '0.20', said)).decision).toBe('block');
    api.clock.advance(1_000);
    expect((await ask(other, '0.10', said)).decision).toBe('allow');
    expect((await ask(one, '0.10', said)).decision).toBe('block');
    await call('POST', `/v1/budgets/${id}/top-ups`, { values: { user_id: 'u' }, amount_usd: '0.10' }, { 'idempotency-key': 'once' });
    await call('POST', `/v1/budgets/${id}/top-ups`, { values: { user_id: 'u' }, amount_usd: '0.10' }, { 'idempotency-key': 'once' });
    api.clock.advance(1_000);
    expect([(await ask(one, '0.11', said)).decision, (await ask(one, '0.10', said)).decision]).toEqual(['block', 'allow']);
    const override = await call('POST', `/v1/budgets/${id}/overrides`, { values: { user_id: 'u' }, limit_usd: '2.00' });
    api.clock.advance(1_000);
    expect((await ask(other, '0.80', said)).decision).toBe('allow');
    expect((await call('GET', `/v1/budgets/${id}/overrides`)).data).toMatchObject([{ values: { user_id: 'u' }, limit_usd: '2.000000000' }]);
    await call('DELETE', `/v1/budgets/${id}/overrides/${override.override_id}`);
    expect((await ask(other, '0.01', said)).decision).toBe('block');
  });

  it('paused it refuses nothing and goes on counting; in shadow it tells what it would have done; deleted it is gone', async () => {
    const { id, feature } = await share({ period: 'month', limit_usd: '1.00' });
    const [one = '', other = ''] = await tenants(2);
    await call('POST', `/v1/budgets/${id}/pause`, {});
    for (const tenantId of [one, other]) expect(await ask(tenantId, '0.90', { feature })).toMatchObject({ decision: 'allow', would: null });
    await api.app.get(HoldJournal).flush();
    await call('POST', `/v1/budgets/${id}/resume`, {});
    expect((await ask(one, '0.01', { feature })).decision).toBe('block');
    expect((await ask(other, '0.20', { feature })).decision).toBe('block');
    await call('PUT', `/v1/budgets/${id}`, { scope: { feature }, thresholds: [], period: 'month', limit_usd: '1.00', enforcement: 'shadow' });
    expect(await ask(other, '0.20', { feature })).toMatchObject({ decision: 'allow', would: 'block' });
    await call('DELETE', `/v1/budgets/${id}`);
    expect(await ask(other, '0.20', { feature })).toMatchObject({ decision: 'allow', would: null });
    expect((await api.call('GET', `/v1/budgets/${id}/status`)).status).toBe(404);
  });

  it('what all tenants booked and hold in the period before it was made counts, where it counts from its start', async () => {
    budgets += 1;
    const feature = `feature-${budgets}`;
    const [one = '', other = '', third = ''] = await tenants(3);
    await settle((await ask(one, '0.40', { feature })).hold.hold_id, '0.40');
    await ask(other, '0.30', { feature });
    await api.app.get(HoldJournal).flush();
    const id = `shared-${budgets}`;
    const made = await call('PUT', `/v1/budgets/${id}`, { scope: { feature }, thresholds: [], period: 'month', limit_usd: '1.00', count_from: 'period_start' });
    expect(made).toMatchObject({ warming: false, tenant_id: null });
    expect((await ask(third, '0.31', { feature })).decision).toBe('block');
    api.clock.advance(1_000);
    expect((await ask(third, '0.30', { feature })).decision).toBe('allow');
    expect((await statusOf(id)).data[0].limits[0]).toMatchObject({ used: '0.400000000', held: '0.600000000' });
  });

  it('crosses its thresholds by what all tenants booked, once a period, and tells the operator, no tenant', async () => {
    const { id, feature } = await share({ period: 'month', limit_usd: '1.00', thresholds: [{ percent: 50, action: 'notify' }] });
    const ids = await tenants(3);
    for (const tenantId of ids) await settle((await ask(tenantId, '0.30', { feature })).hold.hold_id, '0.30');
    const rows = await api.database.db.query(`SELECT tenant_id, percent, used_value FROM quota.crossing WHERE budget_id = $1`, [id]);
    expect(rows).toEqual([{ tenant_id: '', percent: 50, used_value: 600_000_000n }]);
    await raiseAlerts(api.app);
    const { data } = await call('GET', '/v1/alerts?kind=threshold.crossed&limit=500');
    const told = data.filter(({ subject }: any) => subject.budget_id === id);
    expect(told).toMatchObject([{ tenant_id: null, severity: 'info', subject: { across_tenants: true, percent: '50', used: '0.600000000', shadow: false } }]);
  });

  it('F23 what a process left when it died is not given out until the fence is over, and then once', async () => {
    const { feature } = await share({ period: 'month', limit_usd: '1.00' });
    const [one = '', other = ''] = await tenants(2);
    // It was granted a quarter and has one cent of it in rows.
    const { hold } = await ask(one, '0.01', { feature });
    await quota.rebuild();
    expect((await ask(one, '0.01', { feature })).decision).toBe('allow');
    await reclaimIdle();
    expect((await ask(other, '0.90', { feature })).decision).toBe('block');
    await call('POST', `/v1/holds/${hold.hold_id}/release`, {}).catch(() => undefined);
    api.clock.advance(16 * MINUTE_MS);
    await sweepHolds(api.app);
    await reclaimIdle();
    expect((await ask(other, '1.00', { feature })).decision).toBe('allow');
    expect((await ask(one, '0.01', { feature })).decision).toBe('block');
  });

  it('is refused where it cannot be meant', async () => {
    const refused = await api.call('PUT', '/v1/budgets/bad', { body: { per: ['tenant_id'], period: 'day', limit_usd: '1.00', count_from: 'period_start' } });
    expect(refused).toMatchObject({ status: 400, body: { code: 'budget.invalid', errors: [{ path: 'count_from' }] } });
    await call('PUT', '/v1/budgets/each', { scope: { feature: 'nobody' }, per: ['tenant_id'], period: 'day', limit_usd: '1.00' });
    expect(await api.call('GET', '/v1/budgets/each/status')).toMatchObject({ status: 409, body: { code: 'budget.per_tenant' } });
    expect((await call('GET', '/v1/budgets')).data.map((budget: any) => budget.budget_id)).toContain('each');
  });
});
