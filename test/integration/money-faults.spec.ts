import { ExpireLots } from '#libs/ledger/index.js';
import { FixedClock } from '#libs/kernel/testing/fixed-clock.js';
import { startTestApi, type TestApi } from '../support/api.js';
import { bookFrom, figuresOf } from '../support/ledger-figures.js';
import { settleEverything, sweepHolds } from '../support/posting.js';
import { QuotaTestApi } from '../support/quota-api.js';

const MINUTE_MS = 60_000;
const NOON = '2026-11-22T12:00:00.000Z';

describe('money that changes under a call', () => {
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

  const price = async (id: string, model: string, outputUsd: string, more: object = {}): Promise<any> =>
    await api.call('PUT', `/v1/price-overrides/${id}`, {
      body: { provider: 'openai', model, prices: { input_tokens: '0', output_tokens: outputUsd }, ...more },
    });
  const report = async (tenantId: string, more: object): Promise<any> => {
    events += 1;
    return await quota.report({ event_id: `fault-${events}`, tenant_id: tenantId, ...more });
  };
  const settle = async (holdId: string, body: object): Promise<void> => {
    await api.call('POST', `/v1/holds/${holdId}/settle`, { body });
    await settleEverything(api.app);
  };
  const noDrift = async (): Promise<void> => expect((await api.call('GET', '/v1/ledger/check')).body.drift).toEqual([]);

  describe('F27 prices', () => {
    it('S5 F27 a price that changes while a call runs: the call is charged by when it was made, the next one by the new price', async () => {
      const tenantId = await quota.makeTenant({}, '10.00');
      await price('changing', 'changing-1', '0.00001');
      const before = clock.now().toISOString();
      const call = { model: 'changing-1', output: 10_000 };
      const held = await quota.ask({ tenant_id: tenantId, provider: 'openai', model: call.model, input_tokens: 0, max_output_tokens: call.output });
      expect(held.body.hold.amount_usd).toBe('0.100000000');
      clock.advance(MINUTE_MS);
      await price('changing', 'changing-1', '0.00002');
      await report(tenantId, { hold_id: held.body.hold.hold_id, model: call.model, occurred_at: before, usage: { output_tokens: call.output } });
      expect(await quota.balanceOf(tenantId)).toMatchObject({ posted_usd: '9.900000000', held_usd: '0.000000000' });
      const next = await quota.ask({ tenant_id: tenantId, provider: 'openai', model: call.model, input_tokens: 0, max_output_tokens: call.output });
      expect(next.body.hold.amount_usd).toBe('0.200000000');
      await report(tenantId, { hold_id: next.body.hold.hold_id, model: call.model, usage: { output_tokens: call.output } });
      expect(await quota.balanceOf(tenantId)).toMatchObject({ posted_usd: '9.700000000', held_usd: '0.000000000' });
      expect(next.body.estimate.price_version).not.toBe(held.body.estimate.price_version);
    });

    it('LL#30715 F27 an unknown model is never free: refused where limits count, and what ran anyway waits for its price or takes what was held', async () => {
      const tenantId = await quota.makeTenant({}, '10.00');
      expect((await quota.ask({ tenant_id: tenantId, provider: 'openai', model: 'nobody-knows' })).body).toMatchObject({
        decision: 'block',
        reason: { code: 'model_unpriced' },
      });
      const held = await quota.ask({ tenant_id: tenantId, provider: 'openai', model: 'nobody-knows', estimated_cost_usd: '0.30' });
      await report(tenantId, { model: 'nobody-knows', usage: { output_tokens: 5_000 } });
      await report(tenantId, { model: 'nobody-knows', usage: { output_tokens: 5_000 }, hold_id: held.body.hold.hold_id });
      expect(await quota.balanceOf(tenantId)).toMatchObject({ posted_usd: '9.700000000', held_usd: '0.000000000' });
      const quarantined = await api.database.db.query<{ reason: string }>('SELECT reason FROM metering.quarantine WHERE tenant_id = $1 ORDER BY reason', [
        tenantId,
      ]);
      expect(quarantined).toHaveLength(2);
    });

    it('F27 a price that is missing for part of the usage books none of it as nothing', async () => {
      const tenantId = await quota.makeTenant({}, '10.00');
      await api.call('PUT', '/v1/price-overrides/half', { body: { provider: 'openai', model: 'half-priced', prices: { input_tokens: '0.00001' } } });
      await report(tenantId, { model: 'half-priced', usage: { input_tokens: 1_000 } });
      expect((await quota.balanceOf(tenantId)).posted_usd).toBe('9.990000000');
      await report(tenantId, { model: 'half-priced', usage: { input_tokens: 1_000, output_tokens: 1_000_000 } });
      expect((await quota.balanceOf(tenantId)).posted_usd).toBe('9.990000000');
      expect(await api.database.db.query('SELECT FROM metering.quarantine WHERE tenant_id = $1', [tenantId])).toHaveLength(1);
    });

    it('F27 an absurd price is refused with the rule, an absurd bill is set aside, and an explicit price of 0 is a price', async () => {
      const tenantId = await quota.makeTenant({}, '10.00');
      for (const absurd of ['0.5', '-1', 'NaN', '1e309', '0x10']) expect((await price('absurd', 'absurd-1', absurd)).status).toBe(400);
      await price('jumping', 'jumping-1', '0.00001');
      expect((await price('jumping', 'jumping-1', '0.0009')).body.code).toBe('price.jump');
      await price('dear', 'dear-1', '0.01');
      await report(tenantId, { model: 'dear-1', usage: { output_tokens: 1_000_000 } });
      expect((await quota.balanceOf(tenantId)).posted_usd).toBe('10.000000000');
      await price('gift', 'gift-1', '0');
      await report(tenantId, { model: 'gift-1', usage: { output_tokens: 1_000_000 } });
      expect((await quota.balanceOf(tenantId)).posted_usd).toBe('10.000000000');
      const reasons = await api.database.db.query<{ reason: string }>('SELECT reason FROM metering.quarantine WHERE tenant_id = $1', [tenantId]);
      expect(reasons.map(({ reason }) => reason)).toEqual(['absurd_cost']);
    });
  });

  describe('F28 credit that goes away under a hold', () => {
    /** A tenant with one lot of a dollar that expires in five minutes. */
    const expiring = async (): Promise<string> => {
      // Expiry goes by the booking time, which is never behind the database's own.
      const [server] = await api.database.db.query<{ now: Date }>('SELECT now() AS now');
      clock.set(new Date((server?.now.getTime() ?? 0) + 24 * 60 * MINUTE_MS));
      const tenantId = await quota.makeTenant({}, '0');
      await bookFrom(api.database.db, tenantId, clock.now());
      const expires_at = new Date(clock.now().getTime() + 5 * MINUTE_MS).toISOString();
      await api.call('POST', `/v1/tenants/${tenantId}/credits`, { body: { amount_usd: '1.00', kind: 'paid', expires_at } });
      await settleEverything(api.app);
      return tenantId;
    };
    const pass = async (tenantId: string, ms: number): Promise<void> => {
      clock.advance(ms);
      await bookFrom(api.database.db, tenantId, clock.now());
      await api.app.get(ExpireLots).execute();
      await settleEverything(api.app);
    };

    it('L4 F28 a lot that expires while it is held: the call is honoured from the receivable, the lot is closed once, and the next call is refused', async () => {
      const tenantId = await expiring();
      const { body } = await quota.askFor(tenantId, '0.80');
      expect(body.decision).toBe('allow');
      await pass(tenantId, 6 * MINUTE_MS);
      expect(await quota.balanceOf(tenantId)).toMatchObject({ posted_usd: '0.000000000', held_usd: '0.800000000' });
      expect((await quota.askFor(tenantId, '0.01')).body.reason.code).toBe('insufficient_funds');
      await settle(body.hold.hold_id, { cost_usd: '0.80' });
      const { accounts, lots, balance } = await figuresOf(api.database.db, tenantId);
      expect(Object.values(lots)).toEqual([0n]);
      expect(accounts['revenue:breakage']).toBe(1_000_000_000n);
      expect(balance).toEqual({ lots_nano: 0n, receivable_nano: 800_000_000n });
      await pass(tenantId, MINUTE_MS);
      expect((await figuresOf(api.database.db, tenantId)).accounts).toEqual(accounts);
      await noDrift();
    });

    it('F28 and one that nobody reports is ended by its policy all the same', async () => {
      const tenantId = await expiring();
      await api.call('PUT', `/v1/tenants/${tenantId}`, { body: { unresolved_policy: 'charge_hold' } });
      await quota.askFor(tenantId, '0.80');
      await pass(tenantId, 16 * MINUTE_MS);
      await sweepHolds(api.app);
      expect((await figuresOf(api.database.db, tenantId)).balance).toEqual({ lots_nano: 0n, receivable_nano: 800_000_000n });
      expect(await quota.balanceOf(tenantId)).toMatchObject({ held_usd: '0.000000000' });
    });

    it('L7 F28 a refund and a settle race: what is refunded is what was not burnt, whoever is first, and no nano-dollar is in both', async () => {
      const outcomes = new Set<string>();
      for (let round = 0; round < 12; round += 1) {
        const tenantId = await quota.makeTenant({}, '1.00');
        const [lot] = (await quota.balanceOf(tenantId)).lots;
        const { body } = await quota.askFor(tenantId, '0.60');
        const refund = async (): Promise<any> => await api.call('POST', `/v1/credits/${lot.lot_id}/void`, { body: {} });
        const settling = async (): Promise<void> => await settle(body.hold.hold_id, { cost_usd: '0.60' });
        // Both at once, and each alone first, so that either order is seen.
        let voided: any;
        if (round % 3 === 0) [voided] = await Promise.all([refund(), settling()]);
        else if (round % 3 === 1) {
          voided = await refund();
          await settling();
        } else {
          await settling();
          voided = await refund();
        }
        const { lots, accounts, balance } = await figuresOf(api.database.db, tenantId);
        const burnt = accounts['revenue:usage'] ?? 0n;
        const owed = accounts['revenue:overage'] ?? 0n;
        expect(Object.values(lots)).toEqual([0n]);
        expect(burnt + owed).toBe(600_000_000n);
        expect(balance).toEqual({ lots_nano: 0n, receivable_nano: owed });
        const refunded = BigInt(String(voided.body.voided_usd).replace('.', ''));
        expect(refunded + burnt).toBe(1_000_000_000n);
        expect(await quota.balanceOf(tenantId)).toMatchObject({ held_usd: '0.000000000' });
        outcomes.add(burnt === 0n ? 'refund first' : 'settle first');
      }
      expect([...outcomes].sort()).toEqual(['refund first', 'settle first']);
      await noDrift();
    });

    it('F28 money that is pulled back during a hold: the hold is honoured, nothing more is promised, and what is owed is collected from the next credit', async () => {
      const tenantId = await quota.makeTenant({}, '1.00');
      const { body } = await quota.askFor(tenantId, '0.60');
      await api.call('POST', `/v1/tenants/${tenantId}/adjustments`, { body: { amount_usd: '-1.00', reason: 'chargeback opened' } });
      await settleEverything(api.app);
      expect((await quota.askFor(tenantId, '0.01')).body.reason.code).toBe('insufficient_funds');
      await settle(body.hold.hold_id, { cost_usd: '0.60' });
      expect(await quota.balanceOf(tenantId)).toMatchObject({ posted_usd: '-0.600000000', receivable_usd: '0.600000000', held_usd: '0.000000000' });
      await quota.credit(tenantId, '1.00');
      expect(await quota.balanceOf(tenantId)).toMatchObject({ posted_usd: '0.400000000', receivable_usd: '0.000000000' });
      await noDrift();
    });
  });
});
