import { FixedClock } from '#libs/kernel/testing/fixed-clock.js';
import type { TestApi } from '../support/api.js';
import { describeOnStores } from '../support/on-stores.js';
import { settleEverything, sweepHolds } from '../support/posting.js';

const MINUTE_MS = 60_000;

describeOnStores('H8 a hold that is open across the end of a month', ({ start }) => {
  let api: TestApi;
  beforeEach(async () => {
    api = await start({ clock: new FixedClock('2026-11-30T23:55:00.000Z') });
    await api.call('PUT', '/v1/tenants/acme', { body: { unresolved_policy: 'charge_hold' } });
    await credit('1');
  });
  afterEach(async () => await api.close());

  async function credit(amountUsd: string): Promise<void> {
    await api.call('POST', '/v1/tenants/acme/credits', {
      body: { amount_usd: amountUsd, kind: 'paid' },
      headers: { 'idempotency-key': `credit ${api.clock.now().toISOString()}` },
    });
    await settleEverything(api.app);
  }
  const ask = async (costUsd: string): Promise<any> =>
    (await api.call('POST', '/v1/authorize', { body: { tenant_id: 'acme', provider: 'openai', model: 'gpt-4o', estimated_cost_usd: costUsd } })).body;
  const chargeOf = async (month: string): Promise<string | undefined> =>
    (await api.call('GET', `/v1/reports/monthly-spend?month=${month}&tenant_id=acme`)).body.data[0]?.charge_usd;
  const balance = async (): Promise<any> => (await api.call('GET', '/v1/tenants/acme/balance')).body;

  it('is held in the same wallet in both, and what it leaves is the same however it ends', async () => {
    const { hold } = await ask('0.60');
    api.clock.advance(8 * MINUTE_MS);
    await credit('0.10');
    expect((await ask('0.51')).reason.code).toBe('in_flight_exhausted');
    expect(await balance()).toMatchObject({ posted_usd: '1.100000000', held_usd: '0.600000000', available_usd: '0.500000000' });
    await api.call('POST', `/v1/holds/${hold.hold_id}/settle`, { body: { cost_usd: '0.25' } });
    await settleEverything(api.app);
    expect(await balance()).toMatchObject({ posted_usd: '0.850000000', held_usd: '0.000000000' });
    expect([await chargeOf('2026-11'), await chargeOf('2026-12')]).toEqual(['0.250000000', undefined]);
  });

  it('is charged to the month it was asked in when it runs out in the next', async () => {
    await ask('0.60');
    api.clock.advance(16 * MINUTE_MS);
    await sweepHolds(api.app);
    expect([await chargeOf('2026-11'), await chargeOf('2026-12')]).toEqual(['0.600000000', undefined]);
    expect(await balance()).toMatchObject({ posted_usd: '0.400000000', held_usd: '0.000000000' });
  });
});
