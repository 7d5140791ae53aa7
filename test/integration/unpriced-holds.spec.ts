/** An event without a price is charged what was held for its call, and rated exactly when the price arrives. */
import { RequeueQuarantined } from '#libs/metering/index.js';
import type { TestApi } from '../support/api.js';
import { describeOnStores } from '../support/on-stores.js';
import { settleEverything, sweepHolds } from '../support/posting.js';
import { QuotaTestApi } from '../support/quota-api.js';

const MINUTE_MS = 60_000;
const USAGE = { input_tokens: 10, output_tokens: 5 };

describeOnStores('unpriced usage with a hold', ({ start, tenants }) => {
  let api: TestApi;
  let quota: QuotaTestApi;
  let models = 0;
  let model: { provider: string; model: string };
  beforeAll(async () => {
    api = await start();
    quota = new QuotaTestApi(api, tenants);
  });
  afterAll(async () => await api.close());
  beforeEach(() => {
    models += 1;
    model = { provider: 'own', model: `own-model-${models}` };
  });

  const hold = async (tenantId: string, costUsd: string, more: object = {}): Promise<string> =>
    (await quota.ask({ tenant_id: tenantId, ...model, estimated_cost_usd: costUsd, ...more })).body.hold.hold_id;
  const report = async (event: object): Promise<any> => await quota.report({ ...model, usage: USAGE, ...event });
  const eventOf = async (reported: { id: string }): Promise<any> => (await api.call('GET', `/v1/events/${reported.id}`)).body;
  const reportA = async (tenantId: string): Promise<any> => (await api.call('GET', `/v1/reports/monthly-spend?month=2026-11&tenant_id=${tenantId}`)).body.data;
  const listed = async (tenantId: string): Promise<string[]> =>
    (await api.database.db.query<{ reason: string }>('SELECT reason FROM metering.quarantine WHERE tenant_id = $1', [tenantId])).map((row) => row.reason);
  /** 10 input and 5 output tokens come to $0.02. */
  async function priceArrives(prices: object = { input_tokens: '0.001', output_tokens: '0.002' }): Promise<void> {
    const put = await api.call('PUT', `/v1/price-overrides/${model.model}`, { body: { ...model, prices, effective_from: '2026-01-01T00:00:00Z' } });
    expect(put.status).toBe(200);
    await requeue();
  }
  async function requeue(): Promise<void> {
    await api.app.get(RequeueQuarantined).execute();
    await settleEverything(api.app);
  }
  async function expectClean(): Promise<void> {
    expect((await api.call('GET', '/v1/ledger/check')).body.drift).toEqual([]);
  }

  it('is charged exactly what was held, and rated by reversal and new posting when the price arrives', async () => {
    const tenantId = await quota.makeTenant();
    const holdId = await hold(tenantId, '0.30');
    const sent = await report({ event_id: `${tenantId}-e`, tenant_id: tenantId, hold_id: holdId });
    expect(await quota.balanceOf(tenantId)).toMatchObject({ posted_usd: '0.700000000', held_usd: '0.000000000', available_usd: '0.700000000' });
    expect(await eventOf(sent)).toMatchObject({
      state: 'posted',
      state_reason: 'model_unpriced',
      usage_quality: 'hold',
      price_version: 'unpriced',
      charge_usd: '0.300000000',
      lines: [{ component: 'hold', quantity: 1, unit_price: '0.3', charge_usd: '0.300000000' }],
    });
    expect(await reportA(tenantId)).toMatchObject([{ requests: 1, input_tokens: 10, output_tokens: 5, charge_usd: '0.300000000' }]);
    expect(await listed(tenantId)).toEqual(['model_unpriced']);

    await priceArrives();
    expect(await quota.balanceOf(tenantId)).toMatchObject({ posted_usd: '0.980000000', held_usd: '0.000000000', available_usd: '0.980000000' });
    const rated = await eventOf(sent);
    expect(rated).toMatchObject({ state: 'posted', state_reason: null, usage_quality: 'exact', charge_usd: '0.020000000' });
    expect(rated.postings.map((posting: any) => [posting.revision, posting.state, posting.charge_usd, posting.reason])).toEqual([
      [3, 'posted', '0.020000000', null],
      [2, 'reversed', '0.000000000', 'rerated'],
      [1, 'posted', '0.300000000', 'model_unpriced'],
    ]);
    expect(await reportA(tenantId)).toMatchObject([{ requests: 1, input_tokens: 10, output_tokens: 5, charge_usd: '0.020000000' }]);
    expect(await listed(tenantId)).toEqual([]);
    await expectClean();
  });

  it('a price change that does not price it books nothing again', async () => {
    const tenantId = await quota.makeTenant();
    const sent = await report({ event_id: `${tenantId}-e`, tenant_id: tenantId, hold_id: await hold(tenantId, '0.30') });
    await requeue();
    await requeue();
    expect((await eventOf(sent)).postings).toHaveLength(1);
    expect(await listed(tenantId)).toEqual(['model_unpriced']);
    expect(await quota.balanceOf(tenantId)).toMatchObject({ posted_usd: '0.700000000' });
  });

  const rowsOf = async (tenantId: string): Promise<number> =>
    (await api.database.db.query(`SELECT FROM quota.hold WHERE tenant_id = $1 AND kind = 'call'`, [tenantId])).length;

  it.each([
    ['fast', 0],
    ['strict', 2],
  ])('finds the hold of a %s tenant by its id and by the call alone, with %s rows written', async (durability, rows) => {
    // So much credit that promises are made ahead of their rows.
    const tenantId = await quota.makeTenant({ hold_durability: durability }, '100');
    const holdId = await hold(tenantId, '0.30');
    await hold(tenantId, '0.20', { call_id: 'c' });
    expect(await rowsOf(tenantId)).toBe(rows);
    const events = [{ hold_id: holdId }, { call_id: 'c' }].map((named, index) => ({
      event_id: `${tenantId}-${index}`,
      tenant_id: tenantId,
      ...model,
      usage: USAGE,
      ...named,
    }));
    expect((await api.call('POST', '/v1/events', { body: events })).body.accepted).toBe(2);
    await settleEverything(api.app);
    expect(await quota.balanceOf(tenantId)).toMatchObject({ posted_usd: '99.500000000', held_usd: '0.000000000' });
  });

  it('finds the hold of a call that ran out, and takes the charge of its policy back', async () => {
    const tenantId = await quota.makeTenant({ unresolved_policy: 'charge_hold' });
    const holdId = await hold(tenantId, '0.30', { call_id: 'late' });
    api.clock.advance(16 * MINUTE_MS);
    await sweepHolds(api.app);
    expect(await quota.balanceOf(tenantId)).toMatchObject({ posted_usd: '0.700000000' });
    expect(await report({ event_id: `${tenantId}-e`, tenant_id: tenantId, call_id: 'late' })).toMatchObject({ outcome: 'corrected' });
    expect(await quota.balanceOf(tenantId)).toMatchObject({ posted_usd: '0.700000000', unresolved_usd: '0.000000000' });
    await priceArrives();
    expect(await quota.balanceOf(tenantId)).toMatchObject({ posted_usd: '0.980000000' });
    expect((await quota.holdOf(holdId)).state).toBe('settled');
    await expectClean();
  });

  it('takes only what other events of the hold have left of it, and is set aside when nothing is left', async () => {
    const tenantId = await quota.makeTenant();
    const holdId = await hold(tenantId, '0.30');
    const event = { tenant_id: tenantId, hold_id: holdId };
    await report({ event_id: `${tenantId}-1`, ...event, provider: 'openai', model: 'gpt-4o', status: 'error', usage: { output_tokens: 10_000 } });
    expect(await quota.balanceOf(tenantId)).toMatchObject({ posted_usd: '0.900000000', held_usd: '0.200000000' });
    const answer = await api.call('POST', '/v1/events', {
      body: [2, 3].map((index) => ({ event_id: `${tenantId}-${index}`, ...event, ...model, status: 'error', usage: USAGE })),
    });
    expect(answer.body.accepted).toBe(2);
    await settleEverything(api.app);
    expect(await quota.balanceOf(tenantId)).toMatchObject({ posted_usd: '0.700000000', held_usd: '0.000000000' });
    expect(await listed(tenantId)).toEqual(['model_unpriced', 'model_unpriced']);
    await priceArrives();
    expect(await quota.balanceOf(tenantId)).toMatchObject({ posted_usd: '0.860000000', held_usd: '0.160000000', available_usd: '0.700000000' });
    await quota.rebuild();
    await quota.askFor(tenantId, '0');
    expect(await quota.balanceOf(tenantId)).toMatchObject({ posted_usd: '0.860000000', held_usd: '0.160000000' });
    await expectClean();
  });

  it('a price that comes after the call id was given to another call leaves that call its hold', async () => {
    const tenantId = await quota.makeTenant();
    await hold(tenantId, '0.30', { call_id: 'again' });
    await report({ event_id: `${tenantId}-e`, tenant_id: tenantId, call_id: 'again' });
    api.clock.advance(17 * MINUTE_MS);
    await hold(tenantId, '0.40', { call_id: 'again' });
    await priceArrives();
    expect(await quota.balanceOf(tenantId)).toMatchObject({ posted_usd: '0.980000000', held_usd: '0.400000000' });
  });

  it('without a hold it is quarantined and counted, and rated when the price arrives', async () => {
    const tenantId = await quota.makeTenant();
    await quota.askFor(tenantId, '0.30', { call_id: 'some other call' });
    const sent = await report({ event_id: `${tenantId}-e`, tenant_id: tenantId, call_id: 'nobody asked' });
    expect(await eventOf(sent)).toMatchObject({ state: 'quarantined', state_reason: 'model_unpriced', charge_usd: null });
    expect(await quota.balanceOf(tenantId)).toMatchObject({ posted_usd: '1.000000000', held_usd: '0.300000000' });
    expect(await listed(tenantId)).toEqual(['model_unpriced']);
    await priceArrives();
    expect(await quota.balanceOf(tenantId)).toMatchObject({ posted_usd: '0.980000000' });
  });

  it.each([true, false])("another tenant's hold is never used, E6 (row written: %s)", async (written) => {
    const owner = await quota.makeTenant({}, '100');
    const stranger = await quota.makeTenant();
    // First, for reading a tenant writes what is noted.
    await quota.askFor(stranger, '0.01');
    const holdId = await hold(owner, '0.30', { call_id: 'shared name' });
    if (written) await api.call('GET', '/v1/holds');
    expect(await rowsOf(owner)).toBe(written ? 1 : 0);
    const byHold = await report({ event_id: `${stranger}-1`, tenant_id: stranger, hold_id: holdId });
    const byCall = await report({ event_id: `${stranger}-2`, tenant_id: stranger, call_id: 'shared name' });
    expect([(await eventOf(byHold)).state, (await eventOf(byCall)).state]).toEqual(['quarantined', 'quarantined']);
    expect(await quota.balanceOf(stranger)).toMatchObject({ posted_usd: '1.000000000' });
    expect(await quota.balanceOf(owner)).toMatchObject({ posted_usd: '100.000000000', held_usd: '0.300000000' });
  });

  it('a correction and a price that arrive together leave one charge', async () => {
    for (const holds of [true, false]) {
      const tenantId = await quota.makeTenant();
      const event = { tenant_id: tenantId, call_id: 'c', ...model };
      if (holds) await hold(tenantId, '0.30', { call_id: 'c' });
      await report({ event_id: `${tenantId}-1`, ...event, usage_quality: 'estimated' });
      expect((await api.call('POST', '/v1/events', { body: { event_id: `${tenantId}-2`, ...event, usage: { input_tokens: 20 } } })).body.corrected).toBe(1);
      await priceArrives();
      expect(await quota.balanceOf(tenantId)).toMatchObject({ posted_usd: '0.980000000' });
      expect(await reportA(tenantId)).toMatchObject([{ requests: 1, input_tokens: 20, charge_usd: '0.020000000' }]);
      expect(await listed(tenantId)).toEqual([]);
      models += 1;
      model = { provider: 'own', model: `own-model-${models}` };
    }
    await expectClean();
  });

  it('a markup is in the hold already: the charge of a hold that ran out is what was held', async () => {
    await api.call('PUT', '/v1/rate-cards/marked', { body: { markup_percent: '50' } });
    await api.call('PUT', '/v1/plans/marked', { body: { name: 'Marked up', rate_card_id: 'marked' } });
    const tenantId = await quota.makeTenant({ plan_id: 'marked', unresolved_policy: 'charge_hold' });
    const { body } = await quota.ask({ tenant_id: tenantId, provider: 'openai', model: 'gpt-4o', input_tokens: 1_000, max_output_tokens: 100 });
    expect(body.hold.amount_usd).toBe('0.005250000');
    api.clock.advance(16 * MINUTE_MS);
    await sweepHolds(api.app);
    expect(await quota.balanceOf(tenantId)).toMatchObject({ posted_usd: '0.994750000' });
  });
});
