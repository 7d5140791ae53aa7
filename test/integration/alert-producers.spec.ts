import { startTestApi, type TestApi } from '../support/api.js';
import { postEverything, raiseAlerts, settleEverything, sweepHolds } from '../support/posting.js';
import { PRICED, QuotaTestApi } from '../support/quota-api.js';

const DAY_MS = 86_400_000;

function sorted(texts: readonly string[]): string[] {
  return [...texts].sort((a, b) => (a < b ? -1 : 1));
}

describe('what raises an alert', () => {
  let api: TestApi;
  let quota: QuotaTestApi;
  beforeAll(async () => {
    api = await startTestApi();
    quota = new QuotaTestApi(api);
  });
  afterAll(async () => await api.close());

  const alertsOf = async (tenantId: string, kind?: string): Promise<any[]> => {
    await raiseAlerts(api.app);
    return (await api.call('GET', `/v1/alerts?tenant_id=${tenantId}${kind === undefined ? '' : `&kind=${kind}`}`)).body.data;
  };
  /** In alphabetical order: the clock stands still, and ids of one instant have no order of their own. */
  const kindsOf = async (tenantId: string): Promise<string[]> => sorted((await alertsOf(tenantId)).map((alert) => alert.kind));
  let events = 0;
  /** gpt-4o: ten dollars per million output tokens. */
  const spend = async (tenantId: string, cents: number, more: object = {}): Promise<any> => {
    events += 1;
    return await quota.report({ event_id: `alert-${events}`, tenant_id: tenantId, usage: { output_tokens: cents * 1_000 }, ...more });
  };

  describe('a prepaid balance', () => {
    it('is low below a fifth of the recent credit and exhausted at nothing, each once per refill', async () => {
      const tenantId = await quota.makeTenant({}, '1.00');
      await spend(tenantId, 80);
      expect(await kindsOf(tenantId)).toEqual([]);
      await spend(tenantId, 1);
      expect(await alertsOf(tenantId)).toEqual([
        expect.objectContaining({
          kind: 'balance.low',
          severity: 'warning',
          subject: { available_usd: '0.190000000', low_below_usd: '0.200000000', newest_lot_id: expect.stringMatching(/^lot_/) },
        }),
      ]);
      await spend(tenantId, 5);
      await spend(tenantId, 20);
      await spend(tenantId, 5);
      expect(await kindsOf(tenantId)).toEqual(['balance.exhausted', 'balance.low']);
      await quota.credit(tenantId, '9.00');
      // A fifth of the ten dollars granted in thirty days.
      await spend(tenantId, 650);
      expect(await kindsOf(tenantId)).toEqual(['balance.exhausted', 'balance.low']);
      await spend(tenantId, 200);
      await spend(tenantId, 10);
      expect(await kindsOf(tenantId)).toEqual(['balance.exhausted', 'balance.low', 'balance.low']);
    });

    it('is told again by nobody after a restart, and a line crossed while nobody looked is told at the next booking', async () => {
      const [told, unseen] = [await quota.makeTenant({}, '1.00'), await quota.makeTenant({}, '1.00')];
      await spend(told, 90);
      await spend(unseen, 10);
      await api.call('POST', `/v1/tenants/${unseen}/adjustments`, {
        body: { amount_usd: '-0.80', reason: 'test' },
        headers: { 'idempotency-key': `adjust-${unseen}` },
      });
      expect(await kindsOf(unseen)).toEqual([]);
      await spend(unseen, 1);
      expect(await kindsOf(unseen)).toEqual(['balance.low']);
      const next = await startTestApi({ database: api.database });
      events += 1;
      await next.call('POST', '/v1/events', { body: { ...PRICED, event_id: `alert-${events}`, tenant_id: told, usage: { output_tokens: 1_000 } } });
      await postEverything(next.app);
      await next.close();
      await quota.rebuild();
      expect(await kindsOf(told)).toEqual(['balance.low']);
    });

    it('counts the credit limit, and of a postpaid tenant nothing is told', async () => {
      const limited = await quota.makeTenant({ credit_limit_usd: '5.00' }, '1.00');
      await spend(limited, 110);
      expect(await kindsOf(limited)).toEqual([]);
      await spend(limited, 490);
      expect(await kindsOf(limited)).toEqual(['balance.exhausted']);
      const postpaid = await quota.makeTenant({ billing: 'postpaid' }, '1.00');
      await spend(postpaid, 500);
      expect(await kindsOf(postpaid)).toEqual([]);
    });
  });

  it('calls of a model without a price: one alert per tenant, model and day', async () => {
    const tenantId = await quota.makeTenant();
    for (let call = 0; call < 3; call += 1) await spend(tenantId, 1, { model: 'never-priced-1' });
    await spend(tenantId, 1, { model: 'never-priced-2' });
    const alerts = await alertsOf(tenantId);
    expect(sorted(alerts.map((alert) => [alert.kind, alert.subject.model, alert.subject.reason].join(' ')))).toEqual([
      'event.quarantined never-priced-1 model_unpriced',
      'event.quarantined never-priced-2 model_unpriced',
    ]);
    expect((await api.call('GET', `/v1/events/${alerts[0].subject.first_event}`)).status).toBe(200);
    api.clock.advance(DAY_MS);
    await spend(tenantId, 1, { model: 'never-priced-1' });
    expect(await kindsOf(tenantId)).toHaveLength(3);
  });

  it('two reports that disagree about money: one alert per tenant, source and day, that names what stands and what was kept', async () => {
    const tenantId = await quota.makeTenant();
    const report = { tenant_id: tenantId, event_id: `${tenantId}-disputed` };
    await quota.report({ ...report, usage: { output_tokens: 1 } });
    for (const output_tokens of [2, 3]) expect((await quota.report({ ...report, usage: { output_tokens } })).outcome).toBe('conflict');
    const [alert, ...others] = await alertsOf(tenantId);
    expect([alert.kind, others]).toEqual(['event.conflict', []]);
    const letters = (await api.call('GET', `/v1/dead-letters?tenant_id=${tenantId}`)).body.data;
    expect(letters.map((letter: any) => letter.id)).toContain(alert.subject.dead_letter);
    expect(alert.subject.kept_event).toBe(letters[0].kept_event);
  });

  it('a hold that nobody reported and that is charged: one alert per tenant and day, in the booking of its charge', async () => {
    const tenantId = await quota.makeTenant({ unresolved_policy: 'charge_hold' });
    const holds = [await quota.askFor(tenantId, '0.10'), await quota.askFor(tenantId, '0.10')].map(({ body }) => body.hold.hold_id);
    api.clock.advance(16 * 60_000);
    await sweepHolds(api.app);
    await settleEverything(api.app);
    const alerts = await alertsOf(tenantId, 'hold.unresolved');
    expect(alerts).toHaveLength(1);
    expect(alerts[0].subject).toMatchObject({ first_charge_usd: '0.100000000' });
    expect(holds).toContain(alerts[0].subject.first_hold);
  });

  it('an ordinary call raises nothing', async () => {
    const tenantId = await quota.makeTenant();
    await spend(tenantId, 1);
    expect(await kindsOf(tenantId)).toEqual([]);
  });
});
