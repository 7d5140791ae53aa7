import type { SpendMovement } from '#libs/metering/index.js';
import { QuotaParticipant } from '#libs/quota/index.js';
import type { ApiAnswer, TestApi } from '../support/api.js';
import { describeOnStores } from '../support/on-stores.js';
import { settleEverything, sweepHolds } from '../support/posting.js';
import { PRICED, QuotaTestApi } from '../support/quota-api.js';

const MINUTE_MS = 60_000;

describeOnStores('holds', ({ start, tenants }) => {
  let api: TestApi;
  let quota: QuotaTestApi;
  beforeAll(async () => {
    api = await start();
    quota = new QuotaTestApi(api, tenants);
  });
  afterAll(async () => await api.close());

  describe('the life of a hold', () => {
    it('a success event closes it: cost from the hold, the rest given back, the balance exact', async () => {
      const tenantId = await quota.makeTenant();
      const { body } = await quota.askFor(tenantId, '0.50');
      expect(
        await quota.report({ event_id: `${tenantId}-e`, tenant_id: tenantId, hold_id: body.hold.hold_id, usage: { input_tokens: 1_000, output_tokens: 100 } }),
      ).toMatchObject({ outcome: 'accepted' });
      expect(await quota.balanceOf(tenantId)).toMatchObject({ posted_usd: '0.996500000', held_usd: '0.000000000', available_usd: '0.996500000' });
    });

    it('an event with the call_id alone finds it too', async () => {
      const tenantId = await quota.makeTenant();
      await quota.askFor(tenantId, '0.50', { call_id: 'by call' });
      await quota.report({ event_id: `${tenantId}-e`, tenant_id: tenantId, call_id: 'by call', usage: { input_tokens: 1_000, output_tokens: 100 } });
      expect(await quota.balanceOf(tenantId)).toMatchObject({ held_usd: '0.000000000', available_usd: '0.996500000' });
    });

    it('a failed attempt of cost 0 does not close it; the success after it does, once', async () => {
      const tenantId = await quota.makeTenant();
      const { body } = await quota.askFor(tenantId, '0.50', { call_id: 'retried' });
      const event = { tenant_id: tenantId, call_id: 'retried', hold_id: body.hold.hold_id };
      await quota.report({ event_id: `${tenantId}-1`, ...event, status: 'error', usage: { input_tokens: 0 } });
      expect(await quota.balanceOf(tenantId)).toMatchObject({ held_usd: '0.500000000' });
      await quota.report({ event_id: `${tenantId}-2`, ...event, usage: { input_tokens: 1_000, output_tokens: 100 } });
      expect(await quota.balanceOf(tenantId)).toMatchObject({ posted_usd: '0.996500000', held_usd: '0.000000000' });
    });

    it('nor does one that costs, whatever is said of its call: it adds up and the hold stays', async () => {
      const tenantId = await quota.makeTenant();
      const { body } = await quota.askFor(tenantId, '0.50');
      const holdId = body.hold.hold_id.slice('hold_'.length);
      const movement: SpendMovement = {
        eventId: holdId,
        tenantId,
        sign: 1,
        occurredAt: api.clock.now(),
        status: 'error',
        ...PRICED,
        environment: 'prod',
        feature: null,
        userId: null,
        requestedModel: null,
        assistantId: null,
        threadId: null,
        apiKeyId: null,
        requestId: null,
        tags: null,
        sourceId: 'api',
        callId: null,
        holdId,
        endsCall: true,
        provisional: false,
        rerated: false,
        tenantSeq: null,
        usage: null,
        costNano: 100_000_000n,
        chargeNano: 100_000_000n,
      };
      await api.database.db.transaction(async (tx) => await api.app.get(QuotaParticipant).onPosted(tx, [movement]));
      await settleEverything(api.app);
      expect(await quota.balanceOf(tenantId)).toMatchObject({ held_usd: '0.400000000' });
      expect(await quota.holdOf(body.hold.hold_id)).toMatchObject({ state: 'active', captured_usd: '0.100000000' });
    });

    it("another tenant's event with its id touches nothing of it, also after a rebuild (E6)", async () => {
      const tenantId = await quota.makeTenant();
      const stranger = await quota.makeTenant();
      const { body } = await quota.askFor(tenantId, '0.50', { call_id: 'foreign' });
      await quota.askFor(stranger, '0.10');
      const rowsOf = async (): Promise<unknown> => [
        await api.database.db.query('SELECT * FROM quota.hold WHERE tenant_id = $1', [tenantId]),
        await api.database.db.query('SELECT * FROM quota.capture WHERE tenant_id = $1', [tenantId]),
        await api.database.db.query('SELECT * FROM ledger.tenant_balance WHERE tenant_id = $1', [tenantId]),
      ];
      await api.call('GET', '/v1/holds');
      const before = await rowsOf();
      const strange = { tenant_id: stranger, hold_id: body.hold.hold_id, call_id: 'foreign' };
      for (const [index, status] of ['error', 'success', 'cancelled'].entries())
        await quota.report({ event_id: `${stranger}-${index}`, ...strange, status, usage: { output_tokens: 100 + index } });
      expect(await rowsOf()).toEqual(before);
      expect(await quota.balanceOf(tenantId)).toMatchObject({ posted_usd: '1.000000000', held_usd: '0.500000000' });
      await quota.rebuild();
      expect(await quota.balanceOf(tenantId)).toMatchObject({ held_usd: expect.stringMatching(/^0\.[5-9]/) });
      expect((await quota.holdOf(body.hold.hold_id)).state).toBe('active');
    });

    it('settle is a spend event: repeated it is a duplicate, and the gateway corrects it instead of charging twice', async () => {
      const tenantId = await quota.makeTenant();
      const { body } = await quota.askFor(tenantId, '0.50', { call_id: 'settled' });
      const settle = async (): Promise<ApiAnswer> =>
        await api.call('POST', `/v1/holds/${body.hold.hold_id}/settle`, { body: { usage: { input_tokens: 1_000, output_tokens: 90 } } });
      expect((await settle()).body).toMatchObject({ hold: { state: 'active' }, event: { outcome: 'accepted' } });
      expect((await settle()).body).toMatchObject({ event: { outcome: 'duplicate' } });
      await settleEverything(api.app);
      expect(await quota.balanceOf(tenantId)).toMatchObject({ posted_usd: '0.996600000', held_usd: '0.000000000' });
      expect((await settle()).body).toMatchObject({ hold: { state: 'settled' }, event: { outcome: 'duplicate' } });
      const event = { tenant_id: tenantId, call_id: 'settled', hold_id: body.hold.hold_id };
      expect(await quota.report({ event_id: `${tenantId}-same`, ...event, usage: { input_tokens: 1_000, output_tokens: 90 } })).toMatchObject({
        outcome: 'duplicate',
      });
      const other = await quota.makeTenant();
      const asked = (await quota.askFor(other, '0.50', { call_id: 'settled' })).body;
      await api.call('POST', `/v1/holds/${asked.hold.hold_id}/settle`, { body: { cost_usd: '0.2' } });
      await settleEverything(api.app);
      expect(await quota.balanceOf(other)).toMatchObject({ posted_usd: '0.800000000', held_usd: '0.000000000' });
      expect(
        await quota.report({ event_id: `${other}-better`, tenant_id: other, call_id: 'settled', usage: { input_tokens: 1_000, output_tokens: 100 } }),
      ).toMatchObject({ outcome: 'corrected' });
      expect(await quota.balanceOf(other)).toMatchObject({ posted_usd: '0.996500000', held_usd: '0.000000000' });
    });

    it('partial settles add up and leave it open; cost above it is taken from the balance', async () => {
      const tenantId = await quota.makeTenant();
      const { body } = await quota.askFor(tenantId, '0.30');
      const settle = async (costUsd: string, final: boolean, key: string): Promise<ApiAnswer> =>
        await api.call('POST', `/v1/holds/${body.hold.hold_id}/settle`, { body: { cost_usd: costUsd, final }, headers: { 'idempotency-key': key } });
      await settle('0.10', false, 'one');
      await settle('0.10', false, 'one');
      await settle('0.15', false, 'two');
      await settleEverything(api.app);
      expect(await quota.balanceOf(tenantId)).toMatchObject({ posted_usd: '0.750000000', held_usd: '0.050000000' });
      await settle('0.15', true, 'three');
      await settleEverything(api.app);
      expect(await quota.balanceOf(tenantId)).toMatchObject({ posted_usd: '0.600000000', held_usd: '0.000000000', available_usd: '0.600000000' });
    });

    it('H3 leaves active once: release, settle and expiry of one hold have one winner', async () => {
      const tenantId = await quota.makeTenant();
      const { body } = await quota.askFor(tenantId, '0.30');
      const path = `/v1/holds/${body.hold.hold_id}`;
      expect((await api.call('POST', `${path}/release`)).body).toMatchObject({ state: 'released' });
      expect((await api.call('POST', `${path}/release`)).body).toMatchObject({ state: 'released' });
      expect(await api.call('POST', `${path}/settle`, { body: { cost_usd: '0.1' } })).toMatchObject({ status: 409, body: { code: 'hold.released' } });
      expect(await api.call('POST', `${path}/extend`, { body: { ttl_ms: 1_000 } })).toMatchObject({ status: 409, body: { code: 'hold.already_ended' } });
      api.clock.advance(20 * MINUTE_MS);
      await sweepHolds(api.app);
      expect(await quota.balanceOf(tenantId)).toMatchObject({ posted_usd: '1.000000000', held_usd: '0.000000000', unresolved_usd: '0.000000000' });
    });

    it('extend raises its time and amount, and not above the balance', async () => {
      const tenantId = await quota.makeTenant();
      const { body } = await quota.ask({ tenant_id: tenantId, ...PRICED, input_tokens: 1_000, max_output_tokens: 100 });
      const path = `/v1/holds/${body.hold.hold_id}`;
      expect((await api.call('POST', `${path}/extend`, { body: { output_tokens: 10_000, ttl_ms: 60 * MINUTE_MS } })).body).toMatchObject({
        amount_usd: '0.102500000',
      });
      expect(await api.call('POST', `${path}/extend`, { body: { output_tokens: 1_000_000 } })).toMatchObject({
        status: 409,
        body: { code: 'hold.cannot_grow' },
      });
      api.clock.advance(30 * MINUTE_MS);
      await sweepHolds(api.app);
      expect(await quota.balanceOf(tenantId)).toMatchObject({ held_usd: '0.102500000' });
    });
  });

  describe('E5 a call without usage is never free', () => {
    it('keeps its money held, and the better report closes the hold at what it cost', async () => {
      const tenantId = await quota.makeTenant();
      const { body } = await quota.askFor(tenantId, '0.50', { call_id: 'no usage' });
      const event = { tenant_id: tenantId, call_id: 'no usage', hold_id: body.hold.hold_id };
      await quota.report({ event_id: `${tenantId}-1`, ...event });
      expect(await quota.balanceOf(tenantId)).toMatchObject({ posted_usd: '1.000000000', held_usd: '0.500000000' });
      expect(await quota.report({ event_id: `${tenantId}-2`, ...event, usage: { input_tokens: 1_000 }, usage_quality: 'estimated' })).toMatchObject({
        outcome: 'corrected',
      });
      expect(await quota.balanceOf(tenantId)).toMatchObject({ posted_usd: '0.997500000', held_usd: '0.000000000' });
      expect(await quota.report({ event_id: `${tenantId}-3`, ...event, usage: { input_tokens: 1_000, output_tokens: 100 } })).toMatchObject({
        outcome: 'corrected',
      });
      expect(await quota.balanceOf(tenantId)).toMatchObject({ posted_usd: '0.996500000', held_usd: '0.000000000' });
    });

    it('runs out and is charged by its policy when nobody ever says', async () => {
      const tenantId = await quota.makeTenant({ unresolved_policy: 'charge_hold' });
      const { body } = await quota.askFor(tenantId, '0.50', { call_id: 'never' });
      await quota.report({ event_id: `${tenantId}-1`, tenant_id: tenantId, call_id: 'never', hold_id: body.hold.hold_id });
      api.clock.advance(16 * MINUTE_MS);
      await sweepHolds(api.app);
      expect(await quota.balanceOf(tenantId)).toMatchObject({ posted_usd: '0.500000000', held_usd: '0.000000000' });
    });
  });

  describe('H9 holds that ran out', () => {
    it.each([
      ['charge_input', '0.997500000'],
      ['charge_estimate', '0.996500000'],
      ['charge_hold', '0.996500000'],
      ['release', '1.000000000'],
    ])('%s: charged once by policy, listed as unresolved, and corrected by the late event', async (policy, postedUsd) => {
      const tenantId = await quota.makeTenant({ unresolved_policy: policy });
      const { body } = await quota.ask({ tenant_id: tenantId, ...PRICED, input_tokens: 1_000, max_output_tokens: 100, call_id: 'late' });
      api.clock.advance(15 * MINUTE_MS + 500);
      await sweepHolds(api.app);
      await sweepHolds(api.app);
      expect(await quota.balanceOf(tenantId)).toMatchObject({
        posted_usd: postedUsd,
        held_usd: '0.000000000',
        available_usd: postedUsd,
        unresolved_usd: '0.003500000',
      });
      expect((await quota.holdOf(body.hold.hold_id)).state).toBe('unresolved');
      await quota.rebuild();
      await sweepHolds(api.app);
      expect(await quota.balanceOf(tenantId)).toMatchObject({ posted_usd: postedUsd });

      await quota.report({ event_id: `${tenantId}-late`, tenant_id: tenantId, call_id: 'late', usage: { input_tokens: 1_000, output_tokens: 50 } });
      expect(await quota.balanceOf(tenantId)).toMatchObject({ posted_usd: '0.997000000', unresolved_usd: '0.000000000' });
      expect(await quota.holdOf(body.hold.hold_id)).toMatchObject({ state: 'settled', resolution: 'late_event', captured_usd: '0.003000000' });
      expect((await api.call('GET', '/v1/ledger/check')).body.drift).toEqual([]);
    });

    it("a caller's settle comes late: it replaces what the policy charged, and ends the hold", async () => {
      const tenantId = await quota.makeTenant({ unresolved_policy: 'charge_hold' });
      const { body } = await quota.askFor(tenantId, '0.50', { call_id: 'settled late' });
      api.clock.advance(16 * MINUTE_MS);
      await sweepHolds(api.app);
      expect(await quota.balanceOf(tenantId)).toMatchObject({ posted_usd: '0.500000000', unresolved_usd: '0.500000000' });
      await api.call('POST', `/v1/holds/${body.hold.hold_id}/settle`, { body: { cost_usd: '0.20' } });
      await settleEverything(api.app);
      expect(await quota.balanceOf(tenantId)).toMatchObject({ posted_usd: '0.800000000', unresolved_usd: '0.000000000' });
      expect(await quota.holdOf(body.hold.hold_id)).toMatchObject({ state: 'settled', captured_usd: '0.200000000' });
    });

    it.each(['charge_input', 'charge_hold'])('%s: a call id that is given again and never reported leaves nothing held', async (policy) => {
      const tenantId = await quota.makeTenant({ unresolved_policy: policy });
      const ask = async () => (await quota.askFor(tenantId, '0.50', { input_tokens: 1_000, call_id: 'again' })).body.hold.hold_id;
      const first = await ask();
      await quota.report({ event_id: `${tenantId}-e`, tenant_id: tenantId, hold_id: first, call_id: 'again', usage: { input_tokens: 1_000 } });
      api.clock.advance(17 * MINUTE_MS);
      const second = await ask();
      api.clock.advance(16 * MINUTE_MS);
      await sweepHolds(api.app);
      expect(await quota.balanceOf(tenantId)).toMatchObject({ posted_usd: '0.997500000', held_usd: '0.500000000' });
      await quota.rebuild();
      await sweepHolds(api.app);
      api.clock.advance(6 * MINUTE_MS);
      await sweepHolds(api.app);
      expect(await quota.balanceOf(tenantId)).toMatchObject({ posted_usd: '0.997500000', held_usd: '0.000000000', unresolved_usd: '0.000000000' });
      expect(await quota.holdOf(second)).toMatchObject({ state: 'settled', resolution: 'reported_before' });
    });

    it('a hold of a tenant nobody asks for is found and charged after a restart', async () => {
      const tenantId = await quota.makeTenant({ unresolved_policy: 'charge_hold' });
      await quota.askFor(tenantId, '0.20');
      await api.call('GET', '/v1/holds');
      await quota.rebuild();
      api.clock.advance(16 * MINUTE_MS);
      await sweepHolds(api.app);
      expect(await quota.balanceOf(tenantId)).toMatchObject({ posted_usd: '0.800000000', held_usd: '0.000000000' });
    });
  });
});
