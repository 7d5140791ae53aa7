/** The scaled-out shape: several API processes on one PostgreSQL and one Redis, and what happens when Redis loses something. */
import { existsSync, mkdtempSync, readFileSync, rmSync, truncateSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { FixedClock } from '#libs/kernel/testing/fixed-clock.js';
import { openQuotaRedis } from '#libs/quota/index.js';
import { openTestDatabase, type TestDatabase } from '../support/database.js';
import { eventually } from '../support/eventually.js';
import { settleEverything, sweepHolds } from '../support/posting.js';
import { describeWithRedis, startRedis, type TestRedis } from '../support/redis.js';
import { epochOfSingle, startSharedApi, type SharedApi } from '../support/shared-quota.js';

const MINUTE_MS = 60_000;

describeWithRedis('API processes that share a Redis', () => {
  let server: TestRedis;
  let database: TestDatabase;
  let clock: FixedClock;
  let first: SharedApi;
  let second: SharedApi;
  let admin: Redis;

  async function start(settings?: readonly string[]): Promise<void> {
    server = await startRedis(settings ? { settings } : {});
    database = await openTestDatabase();
    clock = new FixedClock();
    const shape = { database, clock, redisUrl: server.url };
    first = await startSharedApi(shape);
    second = await startSharedApi(shape);
    admin = new Redis(server.url);
    admin.on('error', () => undefined);
  }
  afterEach(async () => {
    admin.disconnect();
    await first.close();
    await second.close();
    await database.close();
    await server.close();
  });

  async function makeTenant(settings: object = {}, creditUsd = '10'): Promise<void> {
    await first.api.call('PUT', '/v1/tenants/acme', { body: settings });
    await first.api.call('POST', '/v1/tenants/acme/credits', { body: { amount_usd: creditUsd, kind: 'paid' }, headers: { 'idempotency-key': 'c' } });
  }
  const ask = async ({ api }: SharedApi, costUsd: string, callId: string | null = null): Promise<any> =>
    (
      await api.call('POST', '/v1/authorize', {
        body: { tenant_id: 'acme', model: 'gpt-4o', provider: 'openai', estimated_cost_usd: costUsd, ...(callId && { call_id: callId }) },
      })
    ).body;
  const balance = async ({ api }: SharedApi): Promise<any> => (await api.call('GET', '/v1/tenants/acme/balance')).body;
  const heldUsd = async (shared: SharedApi): Promise<bigint> => BigInt(((await balance(shared)).held_usd as string).replace('.', ''));

  /** Kills the server and waits until both processes know the next one. */
  async function loseServer(between: () => void = () => undefined): Promise<void> {
    const before = await epochOfSingle(database);
    await server.kill?.();
    between();
    await server.restart();
    await Promise.all([first.quota.ready(20_000), second.quota.ready(20_000)]);
    await eventually('both processes have the new epoch', async () => {
      const after = await epochOfSingle(database);
      return after > before && first.quota.fence.current('acme') === after && second.quota.fence.current('acme') === after;
    });
  }

  it('what one gives out the other counts, replays, settles and releases', async () => {
    await start();
    await makeTenant({}, '1');
    const { hold } = await ask(first, '0.4', 'call-a');
    const other = (await ask(first, '0.4')).hold;
    expect(await ask(second, '0.4', 'call-a')).toMatchObject({ decision: 'allow', replayed: true, hold: { hold_id: hold.hold_id } });
    expect((await ask(second, '0.3')).reason.code).toBe('in_flight_exhausted');
    await first.writeHolds();
    expect((await second.api.call('POST', `/v1/holds/${other.hold_id}/release`)).status).toBe(200);
    expect((await second.api.call('POST', `/v1/holds/${hold.hold_id}/settle`, { body: { cost_usd: '0.1' } })).status).toBe(200);
    await settleEverything(second.api.app);
    expect(await balance(first)).toMatchObject({ held_usd: '0.000000000', available_usd: '0.900000000' });
    await second.writeHolds();
    const rows = await database.db.query<{ state: string }>('SELECT state FROM quota.hold ORDER BY hold_id');
    expect(rows.map((row) => row.state).sort()).toEqual(['released', 'settled']);
  });

  it('an end that is written before its beginning stays an end', async () => {
    await start();
    await makeTenant();
    const { hold } = await ask(first, '1', 'call-b');
    await second.api.call('POST', '/v1/events', {
      body: { event_id: 'e1', tenant_id: 'acme', provider: 'openai', model: 'gpt-4o', hold_id: hold.hold_id, usage: { input_tokens: 100, output_tokens: 10 } },
    });
    await settleEverything(second.api.app);
    await second.writeHolds();
    await first.writeHolds();
    const rows = await database.db.query<{ state: string }>('SELECT state FROM quota.hold');
    expect(rows.map((row) => row.state)).toEqual(['settled']);
  });

  it('F21 500 at once through both on a balance that fits 100: none too many, none refused that fits', async () => {
    await start();
    await makeTenant({}, '1');
    const answers = await Promise.all(Array.from({ length: 500 }, async (_value, index) => await ask(index % 2 === 0 ? first : second, '0.01')));
    expect(answers.filter((answer) => answer.decision === 'allow')).toHaveLength(100);
    expect(await balance(second)).toMatchObject({ held_usd: '1.000000000', available_usd: '0.000000000' });
  });

  it('F15 Redis killed and started empty: the epoch is bumped, strict holds come back, and nothing is promised twice', async () => {
    await start();
    await makeTenant({ hold_durability: 'strict' });
    await Promise.all(Array.from({ length: 6 }, async (_value, index) => await ask(index % 2 === 0 ? first : second, '1', `call-${index}`)));
    await loseServer();
    expect((await ask(second, '5')).reason.code).toBe('in_flight_exhausted');
    expect(await balance(first)).toMatchObject({ held_usd: '6.000000000', available_usd: '4.000000000' });
    expect(await ask(first, '1', 'call-0')).toMatchObject({ decision: 'allow', replayed: true });
    expect((await ask(second, '4')).decision).toBe('allow');
  });

  it('F15 fast promises that nobody had written are covered by a fence for one TTL, and then given back', async () => {
    await start();
    await makeTenant();
    await Promise.all(Array.from({ length: 20 }, async (_value, index) => await ask(index % 2 === 0 ? first : second, '0.02')));
    const epoch = await epochOfSingle(database);
    await loseServer();
    expect(await epochOfSingle(database)).toBeGreaterThan(epoch);
    await first.writeHolds();
    await second.writeHolds();
    expect(await heldUsd(first)).toBeGreaterThanOrEqual(400_000_000n);
    expect(await heldUsd(first)).toBeLessThanOrEqual(800_000_000n + 2_500_000_000n);
    expect((await ask(second, '9.7')).decision).toBe('block');
    clock.advance(15 * MINUTE_MS + 500);
    await sweepHolds(first.api.app);
    await sweepHolds(second.api.app);
    expect(await heldUsd(second)).toBe(0n);
  });

  it('F16 Redis back with old data (the end of its AOF cut off): the epoch is bumped and the old state is refused', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'tollgate-aof-'));
    await start(['--dir', directory, '--appendonly', 'yes', '--appendfsync', 'always', '--save', '', '--maxmemory-policy', 'noeviction']);
    await makeTenant({ hold_durability: 'strict' });
    await ask(first, '1');
    const file = join(directory, 'appendonlydir', 'appendonly.aof.1.incr.aof');
    expect(existsSync(file)).toBe(true);
    const length = readFileSync(file).length;
    await ask(second, '6');
    await loseServer(() => truncateSync(file, length));
    // The old data is there, and says that one dollar is held.
    const states = await admin.keys('tollgate:q2:*:state');
    const figures = await admin.hgetBuffer(states[0] ?? '', 'figures');
    expect(figures?.readDoubleLE(8)).toBe(1_000_000_000);
    expect((await ask(first, '4')).reason.code).toBe('in_flight_exhausted');
    expect(await balance(second)).toMatchObject({ held_usd: '7.000000000', available_usd: '3.000000000' });
    rmSync(directory, { recursive: true, force: true });
  });

  it('F18 everything flushed from a server that goes on running: noticed by the next question, and rebuilt under a new epoch', async () => {
    await start();
    await makeTenant({ hold_durability: 'strict' });
    await ask(first, '6');
    const epoch = await epochOfSingle(database);
    await admin.flushall();
    expect((await ask(second, '5')).reason.code).toBe('in_flight_exhausted');
    expect(await epochOfSingle(database)).toBeGreaterThan(epoch);
    expect(await balance(first)).toMatchObject({ held_usd: '6.000000000', available_usd: '4.000000000' });
  });

  it('F18 a server that is full promises nothing, takes releases, and goes on when there is room', async () => {
    await start();
    await makeTenant();
    const { hold } = await ask(first, '1');
    await first.writeHolds();
    await admin.config('SET', 'maxmemory', '1mb');
    expect(await ask(first, '1')).toMatchObject({ decision: 'block', degraded: true });
    expect((await second.api.call('POST', `/v1/holds/${hold.hold_id}/release`)).status).toBe(200);
    await admin.config('SET', 'maxmemory', '0');
    expect((await ask(second, '10')).decision).toBe('allow');
  });

  it('F18 a server that may evict keys is refused at start-up, and the setting is named', async () => {
    await start();
    await admin.config('SET', 'maxmemory-policy', 'allkeys-lru');
    const target = { urls: [server.url], cluster: false };
    const refused = openQuotaRedis({ target, database: database.db, clock, deadlineMs: 1_000, report: () => undefined });
    await expect(refused.ready(10_000)).rejects.toThrow(/maxmemory-policy noeviction/);
    expect(refused.problems().join()).toMatch(/allkeys-lru/);
    refused.close();
  });

  it('F20 scripts that the server forgot are given to it again, under load', async () => {
    await start();
    await makeTenant({ on_store_failure: 'block' }, '100');
    const asked = Array.from({ length: 200 }, async (_value, index) => {
      if (index % 20 === 0) await admin.script('FLUSH');
      return await ask(index % 2 === 0 ? first : second, '0.01');
    });
    expect((await Promise.all(asked)).every((answer) => answer.decision === 'allow')).toBe(true);
    expect(await heldUsd(first)).toBe(2_000_000_000n);
  });

  it('a program with an older layout of the state promises nothing once a newer one has met the server', async () => {
    await start();
    await makeTenant();
    await database.db.execute('UPDATE quota.store_node SET layout = layout + 1, epoch = epoch + 1000');
    await eventually('both stopped promising', async () => first.quota.fence.current('acme') === null && second.quota.fence.current('acme') === null);
    expect(await ask(first, '1')).toMatchObject({ decision: 'block', degraded: true, reason: { code: 'store_unavailable' } });
  });

  it('a tenant that is booked while another process reads it is read again', async () => {
    await start();
    await makeTenant({}, '1');
    await ask(first, '0.5');
    const store = second.quota.store;
    await store.forget('acme');
    const tickets = await store.beginLoad(['acme'], clock.now().getTime());
    // Between the reading and the load of one process, another one hears of a booking.
    await first.quota.store.applyBalance({ tenantId: 'acme', seq: 99n, postedNano: 0n });
    const old = { tenantId: 'acme', seq: 1n, postedNano: 10n ** 12n, holds: [], recentCalls: [], promisedNano: 0n, ceilingNano: 0n };
    await store.load([{ ...old, bookedSeq: 0n, rulesRevision: 0, counters: [], fencedUntilMs: 0 }], clock.now().getTime(), tickets);
    expect(await store.wallet('acme')).toBe('unknown');
    expect((await ask(first, '900')).reason.code).toBe('too_large');
  });
});
