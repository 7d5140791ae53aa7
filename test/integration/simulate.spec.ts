import { HoldJournal, DecisionLog } from '#libs/quota/index.js';
import { startTestApi, type ApiAnswer, type TestApi } from '../support/api.js';
import { settleEverything, sweepHolds } from '../support/posting.js';
import { PRICED, QuotaTestApi } from '../support/quota-api.js';

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;

describe('POST /v1/tenants/{id}/budgets/simulate', () => {
  let api: TestApi;
  let quota: QuotaTestApi;
  beforeAll(async () => {
    api = await startTestApi();
    quota = new QuotaTestApi(api);
  });
  afterAll(async () => await api.close());

  const simulate = async (tenantId: string, body: object, key?: string): Promise<ApiAnswer> =>
    await api.call('POST', `/v1/tenants/${tenantId}/budgets/simulate`, { body, ...(key === undefined ? {} : { key }) });
  const book = async (): Promise<void> => {
    await api.app.get(HoldJournal).flush();
    await settleEverything(api.app);
    api.clock.advance(MINUTE_MS);
  };
  const callOf = async (tenantId: string, costUsd: string, more: object = {}): Promise<any> => {
    const { body } = await quota.askFor(tenantId, costUsd, more);
    if (body.hold !== null) await api.call('POST', `/v1/holds/${body.hold.hold_id}/settle`, { body: { cost_usd: costUsd } });
    await book();
    return body;
  };

  it('tells what a budget would have blocked, by which counter, and what that would have saved', async () => {
    const tenantId = await quota.makeTenant({}, '100');
    for (const user_id of ['u1', 'u2', 'u1', 'u1']) await callOf(tenantId, '0.40', { user_id });
    const { status, body } = await simulate(tenantId, { per: ['user_id'], period: 'month', limit_usd: '1.00' });
    expect([status, body.calls]).toEqual([200, { looked_at: 4, allowed: 3, downgraded: 0, shortened: 0, blocked: 1 }]);
    expect(body).toMatchObject({
      blocked_by: { budget_exhausted: 1 },
      recorded_usd: '1.600000000',
      allowed_usd: '1.200000000',
      blocked_usd: '0.400000000',
      blocked: [
        {
          reason: 'budget_exhausted',
          cost_usd: '0.400000000',
          used: '0.800000000',
          held: '0.000000000',
          asked: '0.400000000',
          counter: { metric: 'usd', values: { user_id: 'u1' }, limit: '1.000000000', period_start: '2026-11-01T00:00:00.000Z' },
        },
      ],
      counters: [
        {
          values: { user_id: 'u1' },
          used: '0.800000000',
          blocked_calls: 1,
          first_blocked_at: body.blocked[0].at,
          crossings: [{ percent: 50 }, { percent: 80 }],
        },
        { values: { user_id: 'u2' }, used: '0.400000000', blocked_calls: 0, first_blocked_at: null, crossings: [] },
      ],
      truncated: false,
      next_from: null,
    });
  });

  it('judges calls that were only reported, by what they cost', async () => {
    const tenantId = await quota.makeTenant({}, '100');
    const usage = { input_tokens: 1_000, output_tokens: 1_000 };
    for (const event_id of ['a', 'b', 'c']) await quota.report({ event_id, tenant_id: tenantId, usage });
    api.clock.advance(MINUTE_MS);
    const { body } = await simulate(tenantId, { period: 'day', limit_tokens: 4_500, thresholds: [] });
    expect([body.calls.blocked, body.blocked[0].hold_id, body.history.reported_only, body.counters[0].used]).toEqual([1, null, 3, '4000']);
  });

  it('takes what ran on a cheaper model for what was asked for, and rates it as that where the draft leaves it room', async () => {
    const tenantId = await quota.makeTenant({}, '100');
    await api.call('PUT', `/v1/tenants/${tenantId}/routes`, { body: { 'gpt-4o': ['gpt-4o-mini'] } });
    await api.call('PUT', `/v1/tenants/${tenantId}/budgets/tight`, { body: { period: 'month', limit_usd: '0.005', thresholds: [] } });
    const asked = { tenant_id: tenantId, ...PRICED, input_tokens: 1_000, max_output_tokens: 1_000 };
    const { body: answer } = await quota.ask(asked);
    expect([answer.decision, answer.model]).toEqual(['downgrade', 'gpt-4o-mini']);
    const settled = { provider: 'openai', model: 'gpt-4o-mini', usage: { input_tokens: 1_000, output_tokens: 500 } };
    await api.call('POST', `/v1/holds/${answer.hold.hold_id}/settle`, { body: settled });
    await book();
    await api.app.get(DecisionLog).flush();
    const wide = await simulate(tenantId, { period: 'month', limit_usd: '5' });
    // 1,000 x 2.5 + 500 x 10 dollars a million instead of 1,000 x 0.15 + 500 x 0.6.
    expect([wide.body.calls, wide.body.recorded_usd, wide.body.allowed_usd]).toMatchObject([{ allowed: 1, downgraded: 0 }, '0.000450000', '0.007500000']);
    const tight = await simulate(tenantId, { period: 'month', limit_usd: '0.005', thresholds: [] });
    expect([tight.body.calls, tight.body.allowed_usd]).toMatchObject([{ allowed: 0, downgraded: 1 }, '0.000450000']);
    const without = await simulate(tenantId, { period: 'month', limit_usd: '0.005', thresholds: [], routes: {} });
    expect(without.body.calls).toMatchObject({ shortened: 1, downgraded: 0 });
  });

  it('spares calls that were asked for as critical where the draft does, and only those', async () => {
    const tenantId = await quota.makeTenant({}, '100');
    const key = await api.call('POST', `/v1/tenants/${tenantId}/keys`, { body: { name: 'critical', allow_critical: true } });
    await callOf(tenantId, '0.50');
    await callOf(tenantId, '0.30', { api_key: key.body.key, priority: 'critical' });
    await callOf(tenantId, '0.30');
    const thresholds = [
      { percent: 60, action: 'block', applies_to: 'non_critical' },
      { percent: 100, action: 'block' },
    ];
    const { body } = await simulate(tenantId, { period: 'day', limit_usd: '1', thresholds });
    expect([body.calls.allowed, body.blocked.map((row: any) => [row.used, row.asked])]).toEqual([2, [['0.800000000', '0.300000000']]]);
  });

  it('counts what was spent before `from` in its period, without judging it', async () => {
    const tenantId = await quota.makeTenant({}, '100');
    await callOf(tenantId, '0.80');
    const from = api.clock.now().toISOString();
    await callOf(tenantId, '0.30');
    const counted = await simulate(tenantId, { period: 'month', limit_usd: '1', from });
    expect([counted.body.calls, counted.body.blocked[0].used]).toMatchObject([{ looked_at: 1, blocked: 1 }, '0.800000000']);
    const fromNow = await simulate(tenantId, { period: 'month', limit_usd: '1', from, count_from: 'now' });
    expect(fromNow.body.calls).toMatchObject({ looked_at: 1, blocked: 0 });
  });

  it('says what the past does not tell: calls that were refused then, and calls that nobody reported', async () => {
    const tenantId = await quota.makeTenant({ unresolved_policy: 'release' }, '1');
    await quota.askFor(tenantId, '0.60');
    await quota.askFor(tenantId, '0.60');
    await api.app.get(DecisionLog).flush();
    api.clock.advance(20 * MINUTE_MS);
    await sweepHolds(api.app);
    await api.app.get(HoldJournal).flush();
    const { body } = await simulate(tenantId, { period: 'month', limit_usd: '10' });
    expect([body.calls.looked_at, body.history]).toEqual([1, { reported_only: 0, unreported: 1, assumed: 0, refused_then: 1 }]);
  });

  it('names the field and the rule where it cannot be tried', async () => {
    const tenantId = await quota.makeTenant();
    const now = api.clock.now().getTime();
    const at = (ms: number): string => new Date(ms).toISOString();
    const budget = { period: 'day', limit_usd: '1' };
    const cases: readonly (readonly [object, string, string])[] = [
      [{ period: 'day' }, 'limit_usd', 'or another limit'],
      [{ ...budget, per: ['user_id', 'user_id'] }, 'per', 'must not name a field twice'],
      [{ ...budget, limit_usd: 1 }, 'limit_usd', 'decimal'],
      [{ ...budget, from: at(now - 36 * DAY_MS) }, 'from', 'must be at most 35 days ago'],
      [{ ...budget, from: at(now), to: at(now) }, 'from', 'must be before `to`'],
      [{ ...budget, to: 'yesterday' }, 'to', 'RFC 3339'],
      [{ ...budget, blocked_calls: 5_001 }, 'blocked_calls', '5000'],
      [{ ...budget, routes: { 'gpt-4o': [] } }, 'routes.gpt-4o', ''],
      [{ ...budget, dry_run: true }, 'dry_run', ''],
    ];
    for (const [body, path, rule] of cases) {
      const answer = await simulate(tenantId, body);
      expect([answer.status, answer.body.errors[0].path]).toEqual([400, path]);
      expect(answer.body.errors[0].message).toContain(rule);
    }
  });

  it("a tenant's own key may try budgets on its own past and on nobody else's", async () => {
    const [own, other] = [await quota.makeTenant({}, '100'), await quota.makeTenant({}, '100')];
    await callOf(own, '0.40');
    await callOf(other, '0.40');
    const budget = { period: 'day', limit_usd: '0.10' };
    const read = await api.makeKey({ scopes: ['read'], tenant_id: own });
    expect((await simulate(own, budget, read)).body).toMatchObject({ calls: { looked_at: 1 }, recorded_usd: '0.400000000' });
    expect((await simulate(other, budget, read)).status).toBe(404);
    expect((await simulate(own, budget, await api.makeKey({ scopes: ['ingest'], tenant_id: own }))).status).toBe(403);
  });
});
