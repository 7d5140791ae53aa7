import { FixedClock } from '#libs/kernel/testing/fixed-clock.js';
import { startTestApi, type TestApi } from '../support/api.js';
import { settleEverything, sweepHolds } from '../support/posting.js';
import { QuotaTestApi } from '../support/quota-api.js';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
const NOON = '2026-11-22T12:00:00.000Z';

describe('F25 clocks that step', () => {
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

  const settle = async (holdId: string, costUsd: string): Promise<void> => {
    await api.call('POST', `/v1/holds/${holdId}/settle`, { body: { cost_usd: costUsd } });
    await settleEverything(api.app);
  };
  const ledgerOf = async (tenantId: string): Promise<{ moved: string[]; backwards: boolean }> => {
    const rows = await api.database.db.query<{ kind: string; moved: bigint; booked_at: Date }>(
      `SELECT t.kind, t.booked_at, (SELECT coalesce(sum(amount), 0)::bigint FROM ledger.transfer x WHERE x.transaction_id = t.transaction_id) AS moved
       FROM ledger.transaction t WHERE tenant_id = $1 ORDER BY tenant_seq`,
      [tenantId],
    );
    return {
      moved: rows.map(({ kind, moved }) => `${kind} ${moved}`),
      backwards: rows.some(({ booked_at: at }, index) => index > 0 && at.getTime() < (rows[index - 1]?.booked_at.getTime() ?? 0)),
    };
  };
  /** The same calls, each after the clock has stepped. */
  const story = async (steps: readonly number[]): Promise<any> => {
    const tenantId = await quota.makeTenant({}, '10.00');
    await api.call('PUT', `/v1/tenants/${tenantId}/budgets/all`, { body: { period: 'total', limit_usd: '5.00' } });
    for (const step of steps) {
      clock.advance(step);
      const { body } = await quota.askFor(tenantId, '0.40');
      await settle(body.hold.hold_id, '0.30');
      events += 1;
      await quota.report({ event_id: `clock-${events}`, tenant_id: tenantId, usage: { output_tokens: 1_000 } });
      await sweepHolds(api.app);
    }
    const { moved, backwards } = await ledgerOf(tenantId);
    const { posted_usd, held_usd, available_usd } = await quota.balanceOf(tenantId);
    const used = (await api.call('GET', `/v1/tenants/${tenantId}/limits`)).body.data.find((limit: any) => limit.kind === 'budget').used;
    return { moved, backwards, posted_usd, held_usd, available_usd, used };
  };

  it('T1 F25 an hour and a day, forth and back, change neither the order of the ledger nor a balance nor what is left of a budget', async () => {
    const steady = await story([0, 0, 0, 0, 0, 0, 0]);
    clock.set(NOON);
    const stepping = await story([HOUR_MS, -HOUR_MS, DAY_MS, -DAY_MS, -DAY_MS, -HOUR_MS, 2 * DAY_MS]);
    expect(stepping).toEqual(steady);
    expect(steady).toMatchObject({ backwards: false, posted_usd: '7.830000000', held_usd: '0.000000000', used: '2.170000000' });
    expect((await api.call('GET', '/v1/ledger/check')).body.drift).toEqual([]);
  });

  it('F25 a step back frees nothing that is held and refuses nothing that fits; a step ahead ends a hold by its policy and charges it once', async () => {
    const tenantId = await quota.makeTenant({ unresolved_policy: 'charge_hold' }, '1.00');
    const { body } = await quota.askFor(tenantId, '0.60');
    clock.advance(-DAY_MS);
    await sweepHolds(api.app);
    expect((await quota.askFor(tenantId, '0.41')).body.reason.code).toBe('in_flight_exhausted');
    const second = await quota.askFor(tenantId, '0.40');
    expect(second.body.decision).toBe('allow');
    await api.call('POST', `/v1/holds/${second.body.hold.hold_id}/release`, { body: {} });
    clock.advance(2 * DAY_MS);
    await sweepHolds(api.app);
    clock.advance(-DAY_MS);
    await sweepHolds(api.app);
    expect(await quota.balanceOf(tenantId)).toMatchObject({ posted_usd: '0.400000000', held_usd: '0.000000000' });
    expect((await quota.holdOf(body.hold.hold_id)).state).toBe('unresolved');
  });

  it('F25 a window that the clock stepped back out of still counts what was booked, and lets no more through than its limit', async () => {
    const tenantId = await quota.makeTenant({}, '100');
    await api.call('PUT', `/v1/tenants/${tenantId}/budgets/hour`, { body: { period: { rolling_seconds: 3_600 }, limit_requests: 5 } });
    let allowed = 0;
    for (const step of [0, -HOUR_MS / 2, HOUR_MS / 4, HOUR_MS / 4, 0, -HOUR_MS / 4, HOUR_MS / 4]) {
      clock.advance(step);
      const { body } = await quota.askFor(tenantId, '0.01');
      if (body.decision === 'allow') allowed += 1;
    }
    expect(allowed).toBe(5);
  });

  it.each([
    ['a day of 23 hours', 'Europe/Berlin', 'day', '2027-03-27T23:00:00Z', '2027-03-28T22:00:00Z'],
    ['a day of 25 hours', 'Europe/Berlin', 'day', '2026-10-24T22:00:00Z', '2026-10-25T23:00:00Z'],
    ['the hour that clocks show twice', 'America/New_York', 'hour', '2026-11-01T05:00:00Z', '2026-11-01T07:00:00Z'],
    ['the hour after the one they skip', 'Europe/Berlin', 'hour', '2027-03-28T01:00:00Z', '2027-03-28T02:00:00Z'],
    ['a midnight that is skipped', 'Africa/Cairo', 'day', '2027-04-29T22:00:00Z', '2027-04-30T21:00:00Z'],
    ['a leap day', 'UTC', 'day', '2028-02-29T00:00:00Z', '2028-03-01T00:00:00Z'],
    ['the month of a leap day', 'Asia/Kolkata', 'month', '2028-01-31T18:30:00Z', '2028-02-29T18:30:00Z'],
  ])(
    'T2 F25 %s (%s, %s) is one period: a budget holds from its first instant to its last and not a millisecond more',
    async (_what, timezone, period, start, end) => {
      const tenantId = await quota.makeTenant({ timezone }, '0');
      await api.call('POST', `/v1/tenants/${tenantId}/credits`, { body: { amount_usd: '100', kind: 'paid' } });
      await settleEverything(api.app);
      await api.call('PUT', `/v1/tenants/${tenantId}/budgets/b`, { body: { period, limit_usd: '1.00', count_from: 'now' } });
      await api.database.db.execute('UPDATE quota.budget SET counts_from = NULL WHERE tenant_id = $1', [tenantId]);
      const reason = async (costUsd: string): Promise<string> => (await quota.askFor(tenantId, costUsd)).body.reason.code;
      clock.set(new Date(Date.parse(start) - 1));
      expect(await reason('1.00')).toBe('ok');
      clock.set(start);
      expect(await reason('0.40')).toBe('ok');
      clock.set(new Date(Date.parse(end) - 10 * MINUTE_MS));
      const late = await reason('0.70');
      clock.set(new Date(Date.parse(end) - 1));
      const last = await reason('1.00');
      clock.set(end);
      // What is held of the old period keeps nothing of the new one.
      expect([await reason('1.00'), await reason('0.01')]).toEqual(['ok', 'in_flight_exhausted']);
      // Nothing was reported, so a hold of the day's first hours has run out by its end; of an hour it has not always.
      expect(['ok', 'in_flight_exhausted']).toContain(late);
      expect(last).toBe('in_flight_exhausted');
    },
  );
});

describe('F26 the month ends while holds and batches are in flight', () => {
  const MONTHS = 12;
  const ZONES = ['UTC', 'Europe/Berlin', 'America/New_York', 'Asia/Kathmandu', 'Pacific/Auckland'];
  let api: TestApi;
  let quota: QuotaTestApi;
  const clock = new FixedClock(NOON);
  beforeAll(async () => {
    api = await startTestApi({ clock });
    quota = new QuotaTestApi(api);
  });
  afterAll(async () => await api.close());

  /** By another way than the product's: the first instant whose text shows another month. */
  const endOfMonth = (zone: string, fromMs: number): number => {
    const month = (atMs: number): string =>
      new Intl.DateTimeFormat('sv-SE', { timeZone: zone, dateStyle: 'short', timeStyle: 'medium' }).format(atMs).slice(0, 7);
    let [low, high] = [fromMs, fromMs + 32 * DAY_MS];
    while (high - low > 1) {
      const middle = Math.floor((low + high) / 2);
      if (month(middle) === month(fromMs)) low = middle;
      else high = middle;
    }
    return high;
  };

  it.each(ZONES)(
    'H8 F26 %s, twelve months: each hold and each booking changes the month it was asked in, whenever it ends; nothing is reset twice or not at all',
    async (timezone) => {
      clock.set(NOON);
      const tenantId = await quota.makeTenant({ timezone, hold_durability: 'strict' }, '1000');
      await api.call('PUT', `/v1/tenants/${tenantId}/budgets/month`, { body: { period: 'month', limit_usd: '1.00' } });
      const line = async (): Promise<any> => (await api.call('GET', `/v1/tenants/${tenantId}/limits`)).body.data.find((limit: any) => limit.id === 'month');
      const ask = async (costUsd: string): Promise<any> => (await quota.askFor(tenantId, costUsd)).body;
      let from = Date.parse(NOON);
      for (let month = 0; month < MONTHS; month += 1) {
        const end = endOfMonth(timezone, from);
        clock.set(new Date(end - 5 * MINUTE_MS));
        const [settled, reported] = [await ask('0.50'), await ask('0.50')];
        expect([settled.decision, reported.decision, (await ask('0.01')).reason.code]).toEqual(['allow', 'allow', 'in_flight_exhausted']);
        // Acknowledged before the end, booked after it.
        const event = { event_id: `${tenantId}-${month}`, tenant_id: tenantId, hold_id: reported.hold.hold_id, usage: { output_tokens: 30_000 } };
        await api.call('POST', '/v1/events', { body: { provider: 'openai', model: 'gpt-4o', ...event } });
        clock.set(new Date(end - 1));
        expect((await ask('0.01')).reason.code).toBe('in_flight_exhausted');
        clock.set(new Date(end));
        const fresh = await ask('1.00');
        expect([fresh.decision, (await ask('0.01')).reason.code]).toEqual(['allow', 'in_flight_exhausted']);
        await api.call('POST', `/v1/holds/${settled.hold.hold_id}/settle`, { body: { cost_usd: '0.45' } });
        await settleEverything(api.app);
        expect(await line()).toMatchObject({ used: '0.000000000', held: '1.000000000', remaining: '0.000000000' });
        await api.call('POST', `/v1/holds/${fresh.hold.hold_id}/release`, { body: {} });
        expect(await line()).toMatchObject({ used: '0.000000000', held: '0.000000000', remaining: '1.000000000' });
        from = end;
      }
      const rows = await api.database.db.query<{ used_nano: bigint }>(
        'SELECT used_nano FROM quota.counter WHERE tenant_id = $1 AND value_key = $2 AND used_nano <> 0',
        [tenantId, 'all'],
      );
      expect(rows.map(({ used_nano: used }) => used)).toEqual(Array(MONTHS).fill(750_000_000n));
      expect(await quota.balanceOf(tenantId)).toMatchObject({ posted_usd: '991.000000000', held_usd: '0.000000000' });
    },
    120_000,
  );
});
