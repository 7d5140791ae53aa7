import { startTestApi, type TestApi } from '../support/api.js';
import { openTestDatabase, type TestDatabase } from '../support/database.js';
import { settleEverything, sweepHolds } from '../support/posting.js';
import { HoldJournal, QuotaStore, StopPromising } from '#libs/quota/index.js';

const MINUTE_MS = 60_000;

describe('H6 a restart rebuilds from PostgreSQL', () => {
  let database: TestDatabase;
  let first: TestApi;
  beforeEach(async () => {
    database = await openTestDatabase();
    first = await startTestApi({ database });
  });
  afterEach(async () => {
    await first.close();
    await database.close();
  });

  async function makeTenant(settings: object): Promise<void> {
    await first.call('PUT', '/v1/tenants/acme', { body: settings });
    await first.call('POST', '/v1/tenants/acme/credits', { body: { amount_usd: '10', kind: 'paid' }, headers: { 'idempotency-key': 'c' } });
    await settleEverything(first.app);
  }
  const askAt = async (api: TestApi, costUsd: string, callId: string | null = null): Promise<any> =>
    (
      await api.call('POST', '/v1/authorize', {
        body: { tenant_id: 'acme', model: 'gpt-4o', provider: 'openai', estimated_cost_usd: costUsd, ...(callId && { call_id: callId }) },
      })
    ).body;
  const balanceAt = async (api: TestApi): Promise<any> => (await api.call('GET', '/v1/tenants/acme/balance')).body;

  it('strict: exactly the holds that were promised, and a repeated call_id answers its hold', async () => {
    await makeTenant({ hold_durability: 'strict' });
    const holds = await Promise.all(['a', 'b', 'c'].map(async (callId) => (await askAt(first, '2.5', callId)).hold.hold_id));
    await first.call('POST', `/v1/holds/${holds[2]}/release`);
    // Nothing of the first process is written after this: its memory is gone.
    const second = await startTestApi({ database, clock: first.clock });
    expect(await balanceAt(second)).toMatchObject({ held_usd: '5.000000000', available_usd: '5.000000000' });
    expect(await askAt(second, '2.5', 'a')).toMatchObject({ decision: 'allow', replayed: true, hold: { hold_id: holds[0] } });
    expect(await askAt(second, '2.5', 'c')).toMatchObject({ code: 'quota.call_already_settled' });
    expect((await askAt(second, '5.000000001')).reason.code).toBe('in_flight_exhausted');
    expect((await askAt(second, '5')).decision).toBe('allow');
    await second.close();
  });

  it('strict: a hold that was extended comes back as it was answered, and nothing else is held', async () => {
    await makeTenant({ hold_durability: 'strict' });
    const { hold } = await askAt(first, '1', 'a');
    const { body } = await first.call('POST', `/v1/holds/${hold.hold_id}/extend`, { body: { output_tokens: 200_000 } });
    const second = await startTestApi({ database, clock: first.clock });
    expect(await balanceAt(second)).toMatchObject({ held_usd: body.amount_usd });
    expect(await askAt(second, '1', 'a')).toMatchObject({ replayed: true, hold: { hold_id: hold.hold_id, amount_usd: body.amount_usd } });
    await second.close();
  });

  it('fast: promises that left no row are covered by a fence for one TTL, and nothing is promised twice', async () => {
    await makeTenant({});
    const promised = await Promise.all(Array.from({ length: 20 }, async () => await askAt(first, '0.02')));
    expect(promised.every((answer) => answer.decision === 'allow')).toBe(true);
    const second = await startTestApi({ database, clock: first.clock });
    const heldUsd = (await balanceAt(second)).held_usd as string;
    expect(BigInt(heldUsd.replace('.', ''))).toBeGreaterThanOrEqual(400_000_000n);
    // At most a quarter of what was left is hidden.
    expect(BigInt(heldUsd.replace('.', ''))).toBeLessThanOrEqual(400_000_000n + 2_500_000_000n);
    expect((await askAt(second, '9.7')).decision).toBe('block');
    first.clock.advance(15 * MINUTE_MS + 500);
    await sweepHolds(second.app);
    expect(await balanceAt(second)).toMatchObject({ held_usd: '0.000000000', available_usd: '10.000000000' });
    await second.close();
  });

  it('fast: after a clean stop there is no fence, only the holds', async () => {
    await makeTenant({});
    await askAt(first, '0.02');
    await first.app.get(StopPromising).execute();
    const second = await startTestApi({ database, clock: first.clock });
    expect(await balanceAt(second)).toMatchObject({ held_usd: '0.020000000' });
    await second.close();
  });

  it('a process whose epoch is over can neither promise what is committed first nor write holds', async () => {
    await makeTenant({ hold_durability: 'strict' });
    expect((await askAt(first, '1')).decision).toBe('allow');
    const second = await startTestApi({ database, clock: first.clock });
    expect(await askAt(first, '1')).toMatchObject({ decision: 'block', degraded: true, reason: { code: 'store_unavailable' } });
    await expect(first.app.get(HoldJournal).flush()).rejects.toMatchObject({ code: 'quota.stale_epoch' });
    expect(await balanceAt(second)).toMatchObject({ held_usd: '1.000000000' });
    await second.close();
  });

  it('a charge stays marked whatever was noted before it: no restart charges the hold again', async () => {
    await makeTenant({ unresolved_policy: 'charge_hold' });
    const { hold } = await askAt(first, '1', 'x');
    const held = await first.app.get(QuotaStore).locate(hold.hold_id.slice('hold_'.length));
    first.clock.advance(16 * MINUTE_MS);
    await sweepHolds(first.app);
    // What was noted before the charge was booked, written after it.
    first.app.get(HoldJournal).note({ ...held!, state: 'unresolved', resolution: 'expired', resolvedAtMs: first.clock.now().getTime() });
    await first.app.get(HoldJournal).flush();
    expect((await first.call('GET', '/v1/holds?tenant_id=acme')).body.data).toMatchObject([
      { state: 'unresolved', resolution: 'charged', captured_usd: '1.000000000' },
    ]);
    const second = await startTestApi({ database, clock: first.clock });
    await sweepHolds(second.app);
    expect(await balanceAt(second)).toMatchObject({ posted_usd: '9.000000000', unresolved_usd: '1.000000000' });
    expect((await second.call('GET', '/v1/holds?tenant_id=acme')).body.data[0]).toMatchObject({ state: 'unresolved', resolution: 'charged' });
    await second.close();
  });

  it('an event booked while no process watched closes its hold', async () => {
    await makeTenant({ hold_durability: 'strict' });
    const { hold } = await askAt(first, '1', 'x');
    await first.call('POST', '/v1/events', {
      body: { event_id: 'e', tenant_id: 'acme', hold_id: hold.hold_id, provider: 'openai', model: 'gpt-4o', usage: { output_tokens: 100 } },
    });
    await settleEverything(first.app);
    const second = await startTestApi({ database, clock: first.clock });
    expect(await balanceAt(second)).toMatchObject({ posted_usd: '9.999000000', held_usd: '0.000000000' });
    expect(await askAt(second, '1', 'x')).toMatchObject({ code: 'quota.call_already_settled' });
    await second.close();
  });
});
