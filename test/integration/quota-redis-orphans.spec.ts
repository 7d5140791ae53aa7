/**
 * H9 where processes share a Redis: what one left between two steps when it died is finished by another, so that no money stays held for
 * ever. The dead one is played by an application whose schedules nobody runs any more.
 */
import { Redis } from 'ioredis';
import { FixedClock } from '#libs/kernel/testing/fixed-clock.js';
import { openTestDatabase, type TestDatabase } from '../support/database.js';
import { sweepHolds } from '../support/posting.js';
import { describeWithRedis, startRedis, type TestRedis } from '../support/redis.js';
import { startSharedApi, type SharedApi } from '../support/shared-quota.js';

const MINUTE_MS = 60_000;

describeWithRedis('H9 a hold that a process which is gone', () => {
  let server: TestRedis;
  let database: TestDatabase;
  let clock: FixedClock;
  let gone: SharedApi;
  let alive: SharedApi;
  let admin: Redis;

  beforeEach(async () => {
    server = await startRedis();
    database = await openTestDatabase();
    clock = new FixedClock();
    gone = await startSharedApi({ database, clock, redisUrl: server.url });
    alive = await startSharedApi({ database, clock, redisUrl: server.url });
    admin = new Redis(server.url);
    await alive.api.call('PUT', '/v1/tenants/acme', { body: { unresolved_policy: 'charge_hold', on_store_failure: 'block' } });
    await alive.api.call('POST', '/v1/tenants/acme/credits', { body: { amount_usd: '10', kind: 'paid' }, headers: { 'idempotency-key': 'c' } });
  });
  afterEach(async () => {
    admin.disconnect();
    await gone.close();
    await alive.close();
    await database.close();
    await server.close();
  });

  const ask = async ({ api }: SharedApi, costUsd = '1'): Promise<string> => {
    const body = { tenant_id: 'acme', model: 'gpt-4o', provider: 'openai', estimated_cost_usd: costUsd };
    const answer = (await api.call('POST', '/v1/authorize', { body })).body;
    expect(answer.decision).toBe('allow');
    return (answer.hold.hold_id as string).slice('hold_'.length);
  };
  const nowMs = (): number => clock.now().getTime();
  const leaveIndex = async (): Promise<void> => {
    for (const key of await admin.keys('*ends-by-tenant')) await admin.del(key);
  };
  const balance = async (): Promise<object> => (await alive.api.call('GET', '/v1/tenants/acme/balance')).body;
  const charged = { held_usd: '0.000000000', available_usd: '9.000000000', posted_usd: '9.000000000' };

  it('gave out is charged by another when its time runs out', async () => {
    await ask(gone);
    await gone.writeHolds();
    clock.advance(16 * MINUTE_MS);
    await sweepHolds(alive.api.app);
    expect(await balance()).toMatchObject(charged);
  });

  it('ended without writing so is charged by another', async () => {
    await ask(gone);
    await gone.writeHolds();
    clock.advance(16 * MINUTE_MS);
    expect(await gone.quota.store.expire(nowMs(), 10)).toHaveLength(1);
    await sweepHolds(alive.api.app);
    expect(await balance()).toMatchObject(charged);
  });

  it('did not list for the sweep is found by its row', async () => {
    await ask(gone);
    await gone.writeHolds();
    await leaveIndex();
    clock.advance(16 * MINUTE_MS);
    await sweepHolds(alive.api.app);
    expect(await balance()).toMatchObject(charged);
  });

  it('neither listed nor wrote is found when the tenant is asked for next', async () => {
    // So small that it is promised ahead of its row.
    const holdId = await ask(gone, '0.01');
    expect(await database.db.query('SELECT FROM quota.hold WHERE hold_id = $1', [holdId])).toEqual([]);
    await leaveIndex();
    clock.advance(16 * MINUTE_MS);
    await ask(alive);
    await sweepHolds(alive.api.app);
    expect(await balance()).toMatchObject({ held_usd: '1.000000000', available_usd: '8.990000000' });
  });

  it('took from the store and left in its row counts as its row says', async () => {
    const holdId = await ask(gone);
    await gone.writeHolds();
    await gone.quota.store.end({ tenantId: 'acme', holdId, ending: { to: 'released', resolution: 'release' }, nowMs: nowMs() });
    clock.advance(16 * MINUTE_MS);
    await sweepHolds(alive.api.app);
    // For all that this process knows, the other one is about to write the end.
    expect(await balance()).toMatchObject({ held_usd: '0.000000000', available_usd: '10.000000000' });
    clock.advance(MINUTE_MS / 2);
    await sweepHolds(alive.api.app);
    expect(await balance()).toMatchObject(charged);
  });
});
