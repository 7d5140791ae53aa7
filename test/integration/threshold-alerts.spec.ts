import { DeliverAlerts, RouteAlerts } from '#libs/alerting/index.js';
import { FixedClock } from '#libs/kernel/testing/fixed-clock.js';
import { startTestApi, type TestApi } from '../support/api.js';
import { postEverything, raiseAlerts } from '../support/posting.js';
import { QuotaTestApi } from '../support/quota-api.js';
import { isSignedWith, startWebhookReceiver, type WebhookReceiver } from '../support/webhook-receiver.js';

const ALLOW = { TOLLGATE_OUTGOING_ALLOW: '127.0.0.1' };
const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

describe('a threshold that is crossed is told to people', () => {
  let api: TestApi;
  let quota: QuotaTestApi;
  let receiver: WebhookReceiver;
  const clock = new FixedClock('2026-11-22T12:00:00.000Z');
  let events = 0;

  beforeAll(async () => {
    api = await startTestApi({ clock, environment: ALLOW });
    quota = new QuotaTestApi(api);
  });
  afterAll(async () => await api.close());
  beforeEach(async () => {
    clock.set('2026-11-22T12:00:00.000Z');
    receiver = await startWebhookReceiver();
  });
  afterEach(async () => {
    for (const { channel_id } of (await api.call('GET', '/v1/alert-channels?limit=500')).body.data)
      await api.call('DELETE', `/v1/alert-channels/${channel_id}`);
    await raiseAlerts(api.app);
    await api.app.get(RouteAlerts).execute();
    await receiver.close();
  });

  const channel = async (channelId: string, over: object = {}): Promise<string> =>
    (await api.call('PUT', `/v1/alert-channels/${channelId}`, { body: { kind: 'webhook', url: receiver.url, kinds: ['threshold.crossed'], ...over } })).body
      .secret;
  const budget = async (tenantId: string, budgetId: string, body: object): Promise<void> => {
    const answer = await api.call('PUT', `/v1/tenants/${tenantId}/budgets/${budgetId}`, { body });
    if (answer.status >= 300) throw new Error(JSON.stringify(answer.body));
  };
  /** gpt-4o: ten dollars per million output tokens. */
  const spend = async (tenantId: string, cents: number, more: object = {}): Promise<void> => {
    events += 1;
    await quota.report({ event_id: `crossing-${events}`, tenant_id: tenantId, usage: { output_tokens: cents * 1_000 }, ...more });
  };
  const deliver = async (from: TestApi = api): Promise<void> => {
    await raiseAlerts(from.app);
    await from.app.get(RouteAlerts).execute();
    await from.app.get(DeliverAlerts).execute();
    await from.app.get(DeliverAlerts).settled();
  };
  const alertsOf = async (tenantId: string): Promise<any[]> => {
    await raiseAlerts(api.app);
    const { body } = await api.call('GET', `/v1/alerts?tenant_id=${tenantId}&kind=threshold.crossed&limit=500`);
    return body.data;
  };
  const told = async (tenantId: string): Promise<string[]> =>
    (await alertsOf(tenantId)).map(({ subject, severity }) => `${subject.budget_id} ${subject.metric} ${subject.percent} ${severity}`).sort();

  it('by signed webhook: 50 as info, 80 as warning, 100 as critical, each once, with what a person needs', async () => {
    const tenantId = await quota.makeTenant({}, '100');
    const secret = await channel('all');
    await budget(tenantId, 'users', { per: ['user_id'], period: 'month', limit_usd: '1.00' });
    await spend(tenantId, 49, { user_id: 'u1' });
    await deliver();
    expect(receiver.received).toEqual([]);
    for (const cents of [1, 5, 30, 3, 12, 20]) await spend(tenantId, cents, { user_id: 'u1' });
    await deliver();
    await deliver();
    const messages = receiver.received.filter((message) => isSignedWith(message, secret)).map(({ body }) => body);
    messages.sort((a, b) => Number(a.data.percent) - Number(b.data.percent));
    const common = {
      tenant_id: tenantId,
      budget_id: 'users',
      budget_version: '1',
      across_tenants: false,
      values: { user_id: 'u1' },
      metric: 'usd',
      limit: '1.000000000',
      period: 'month',
      period_start: '2026-11-01T00:00:00.000Z',
      resets_at: '2026-12-01T00:00:00.000Z',
      shadow: false,
      alert_id: expect.any(String),
    };
    expect(messages.map(({ type, data }) => ({ type, data }))).toEqual([
      { type: 'threshold.crossed', data: { ...common, percent: '50', action: 'notify', severity: 'info', used: '0.500000000' } },
      { type: 'threshold.crossed', data: { ...common, percent: '80', action: 'downgrade', severity: 'warning', used: '0.850000000' } },
      { type: 'threshold.crossed', data: { ...common, percent: '100', action: 'block', severity: 'critical', used: '1.000000000' } },
    ]);
    expect(receiver.received).toHaveLength(3);
  });

  it('LL#32597 any percent, once per period: also when it is told twice, passed again after a restart, or nobody had told it before the restart', async () => {
    const tenantId = await quota.makeTenant({}, '100');
    await channel('all');
    await budget(tenantId, 'any', { period: 'month', limit_usd: '1.00', thresholds: [{ percent: 37, action: 'notify' }] });
    await spend(tenantId, 37);
    // Between the booking and the telling the process dies; then the outbox is told twice, as after a death between telling and removing.
    const next = await startTestApi({ clock, environment: ALLOW, database: api.database });
    await api.database.db.execute(
      `INSERT INTO platform.outbox (tenant_id, tenant_seq, topic, payload) SELECT tenant_id, tenant_seq, topic, payload FROM platform.outbox WHERE topic = 'quota.crossed'`,
    );
    await deliver(next);
    events += 1;
    await next.call('POST', '/v1/events', {
      body: { provider: 'openai', model: 'gpt-4o', event_id: `crossing-${events}`, tenant_id: tenantId, usage: { output_tokens: 1_000 } },
    });
    await postEverything(next.app);
    await deliver(next);
    await next.close();
    await quota.rebuild();
    await spend(tenantId, 1);
    await deliver();
    expect(receiver.received.map(({ body }) => [body.data.percent, body.data.used])).toEqual([['37', '0.370000000']]);
    clock.set('2026-12-01T00:00:00.000Z');
    await spend(tenantId, 40);
    await deliver();
    expect(receiver.received.map(({ body }) => body.data.period_start)).toEqual(['2026-11-01T00:00:00.000Z', '2026-12-01T00:00:00.000Z']);
  });

  it('to the channels of the owner, and to a channel by how grave it is', async () => {
    const tenantId = await quota.makeTenant({}, '100');
    const stranger = await quota.makeTenant({}, '100');
    const [pager, mine] = [await channel('pager', { min_severity: 'critical' }), await channel('mine')];
    await api.call('PUT', `/v1/tenants/${tenantId}`, { body: { owner: { channel_ids: ['mine'] } } });
    for (const each of [tenantId, stranger]) {
      await budget(each, 'b', { period: 'month', limit_usd: '1.00' });
      await spend(each, 100);
    }
    await deliver();
    const heard = (secret: string, of: string): string[] =>
      receiver.received
        .filter((message) => isSignedWith(message, secret) && message.body.data.tenant_id === of)
        .map(({ body }) => String(body.data.percent))
        .sort();
    expect([heard(mine, tenantId), heard(pager, tenantId)]).toEqual([['100', '50', '80'], []]);
    expect([heard(mine, stranger), heard(pager, stranger)]).toEqual([['100', '50', '80'], ['100']]);
  });

  it('what refuses nothing is told as shadow: a budget in shadow, and any budget of a tenant in shadow', async () => {
    const tenantId = await quota.makeTenant({}, '100');
    const trying = await quota.makeTenant({ enforcement: 'shadow' }, '100');
    await budget(tenantId, 'shadow', { period: 'month', limit_usd: '1.00', enforcement: 'shadow' });
    await budget(tenantId, 'real', { period: 'month', limit_usd: '1.00' });
    await budget(trying, 'real', { period: 'month', limit_usd: '1.00' });
    await spend(tenantId, 50);
    await spend(trying, 50);
    const shadows = async (of: string): Promise<string[]> => (await alertsOf(of)).map(({ subject }) => `${subject.budget_id} ${subject.shadow}`).sort();
    expect(await shadows(tenantId)).toEqual(['real false', 'shadow true']);
    expect(await shadows(trying)).toEqual(['real true']);
  });

  it("each counter and metric for itself, and a budget of everybody apart from the tenant's own of the same name", async () => {
    const tenantId = await quota.makeTenant({}, '100');
    const only = { scope: { feature: `only-${tenantId}` }, period: 'month', thresholds: [{ percent: 50, action: 'notify' }] };
    await budget(tenantId, 'same', { ...only, limit_usd: '1.00', limit_tokens: 100_000 });
    await api.call('PUT', '/v1/budgets/same', { body: { ...only, per: ['tenant_id'], limit_usd: '1.00' } });
    await spend(tenantId, 50, { feature: `only-${tenantId}` });
    await api.call('DELETE', '/v1/budgets/same');
    const alerts = await alertsOf(tenantId);
    expect(alerts.map(({ subject }) => [subject.metric, subject.across_tenants, subject.used, subject.limit].join(' ')).sort()).toEqual([
      'tokens false 50000 100000',
      'usd false 0.500000000 1.000000000',
      'usd true 0.500000000 1.000000000',
    ]);
  });

  describe('a rolling window', () => {
    it('is told when what is in it reaches the percent, and while it hovers there once per window length', async () => {
      const tenantId = await quota.makeTenant({}, '100');
      await budget(tenantId, 'day', {
        per: ['user_id'],
        period: { rolling_seconds: 86_400 },
        limit_usd: '1.00',
        thresholds: [{ percent: 50, action: 'notify' }],
      });
      const halves = async (): Promise<any[]> => (await alertsOf(tenantId)).filter(({ subject }) => subject.percent === '50');
      const hours: number[] = [];
      // Ten cents an hour for a bit over two days: above half from the fifth hour on.
      for (let hour = 0; hour < 50; hour += 1) {
        const before = (await halves()).length;
        await spend(tenantId, 10, { user_id: 'u' });
        if ((await halves()).length > before) hours.push(hour);
        clock.advance(HOUR_MS);
      }
      expect(hours).toEqual([4, 28]);
      expect((await halves()).find(({ subject }) => subject.used === '0.500000000').subject).toMatchObject({
        period: { rolling_seconds: 86_400 },
        resets_at: null,
      });
    });

    it('is told again when it fell below and rose again, but not for each of its sub-buckets, and not lost to a restart', async () => {
      const tenantId = await quota.makeTenant({}, '100');
      await budget(tenantId, 'hour', { period: { rolling_seconds: 3_600 }, limit_requests: 10, thresholds: [{ percent: 80, action: 'block' }] });
      const call = async (count: number): Promise<void> => {
        for (let each = 0; each < count; each += 1) await spend(tenantId, 1);
      };
      await call(7);
      expect(await told(tenantId)).toEqual([]);
      clock.advance(30 * MINUTE_MS);
      await call(1);
      expect(await told(tenantId)).toHaveLength(1);
      // The first seven leave, others come: above the threshold again within the hour.
      clock.advance(32 * MINUTE_MS - 4 * MINUTE_MS);
      await quota.rebuild();
      await call(8);
      expect(await told(tenantId)).toHaveLength(1);
      clock.advance(3 * HOUR_MS);
      await call(7);
      expect(await told(tenantId)).toHaveLength(1);
      await call(1);
      expect(await told(tenantId)).toEqual(['hour requests 80 critical', 'hour requests 80 critical']);
    });

    it('small sub-buckets that pass the threshold together are told, though none of them is worth adding the window up', async () => {
      const tenantId = await quota.makeTenant({}, '100');
      await budget(tenantId, 'slow', {
        per: ['user_id'],
        period: { rolling_seconds: 3_600 },
        limit_usd: '10.00',
        thresholds: [{ percent: 50, action: 'notify' }],
      });
      await spend(tenantId, 300, { user_id: 'u' });
      let minutes = 0;
      while ((await told(tenantId)).length === 0 && minutes < 59) {
        minutes += 1;
        clock.advance(MINUTE_MS);
        await spend(tenantId, 4, { user_id: 'u' });
      }
      expect(minutes).toBe(50);
    });

    it('a short one is told at most once an hour', async () => {
      const tenantId = await quota.makeTenant({}, '100');
      await budget(tenantId, 'minute', { period: { rolling_seconds: 60 }, limit_requests: 2, thresholds: [{ percent: 100, action: 'block' }] });
      for (let minute = 0; minute < 70; minute += 1) {
        await spend(tenantId, 1);
        await spend(tenantId, 1);
        clock.advance(MINUTE_MS);
      }
      expect(await told(tenantId)).toHaveLength(2);
    });

    it('a window is added up by its keys, not by looking at the other counters of its budget', async () => {
      const plan = await api.database.db.transaction(async (tx) => {
        await tx.execute(
          `INSERT INTO quota.counter SELECT 'plan', 'b', minute * 60000, 'v' || value, 1, 1, 1, NULL FROM generate_series(1, 61) minute, generate_series(1, 300) value`,
        );
        await tx.execute('ANALYZE quota.counter');
        const rows = await tx.query<Record<string, string>>(
          `EXPLAIN (ANALYZE, BUFFERS OFF, TIMING OFF, COSTS OFF) SELECT s.nano FROM unnest(ARRAY['plan'], ARRAY['b'], ARRAY['v7'], ARRAY[60000], ARRAY[3660000], ARRAY[60000])
             WITH ORDINALITY AS n (tenant_id, budget_key, value_key, from_ms, to_ms, step_ms, position)
           CROSS JOIN LATERAL (SELECT sum(c.used_nano) AS nano FROM quota.counter c
             WHERE c.tenant_id = n.tenant_id AND c.budget_key = n.budget_key AND c.value_key = n.value_key
               AND c.period_ms = ANY (ARRAY(SELECT generate_series(n.from_ms, n.to_ms, n.step_ms)))) s`,
        );
        return rows.map((row) => Object.values(row)[0]).join('\n');
      });
      expect(plan).toMatch(/Index (Only )?Scan using counter_pkey[^\n]*actual rows=61/);
      expect(plan).not.toMatch(/Seq Scan|Rows Removed by Filter/);
    });
  });
});
