/** When the store is away, slow, or replaced by one that missed something. */
import { Redis } from 'ioredis';
import { FixedClock } from '#libs/kernel/testing/fixed-clock.js';
import { StoreAway } from '#libs/quota/index.js';
import { openTestDatabase, type TestDatabase } from '../support/database.js';
import { eventually } from '../support/eventually.js';
import { settleEverything, sweepHolds } from '../support/posting.js';
import { describeWithRedis, startRedis, startRedisCluster, type TestRedis } from '../support/redis.js';
import { epochOfSingle, startSharedApi, type SharedApi } from '../support/shared-quota.js';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.js';

/** Long enough for a busy machine, short enough to wait for. */
const DEADLINE_MS = 1_000;
const MINUTE_MS = 60_000;

interface Tenants {
  make(tenantId: string, settings: object, creditUsd: string): Promise<void>;
  ask(tenantId: string, costUsd: string, callId?: string): Promise<any>;
  heldNano(tenantId: string): Promise<bigint>;
}

const tenantsOf = ({ api }: SharedApi): Tenants => ({
  make: async (tenantId, settings, creditUsd) => {
    await api.call('PUT', `/v1/tenants/${tenantId}`, { body: settings });
    await api.call('POST', `/v1/tenants/${tenantId}/credits`, { body: { amount_usd: creditUsd, kind: 'paid' }, headers: { 'idempotency-key': tenantId } });
  },
  ask: async (tenantId, costUsd, callId) =>
    (
      await api.call('POST', '/v1/authorize', {
        body: { tenant_id: tenantId, model: 'gpt-4o', provider: 'openai', estimated_cost_usd: costUsd, ...(callId === undefined ? {} : { call_id: callId }) },
      })
    ).body,
  heldNano: async (tenantId) => BigInt(((await api.call('GET', `/v1/tenants/${tenantId}/balance`)).body.held_usd as string).replace('.', '')),
});

describeWithRedis('a Redis that cannot be reached', () => {
  let server: TestRedis;
  let proxy: TcpProxy;
  let target: { host: string; port: number };
  let database: TestDatabase;
  let clock: FixedClock;
  let shared: SharedApi;
  let tenants: Tenants;

  beforeEach(async () => {
    server = await startRedis();
    target = { host: '127.0.0.1', port: Number(new URL(server.url).port) };
    proxy = await startTcpProxy(target);
    database = await openTestDatabase();
    clock = new FixedClock();
    shared = await startSharedApi({ database, clock, redisUrl: `redis://127.0.0.1:${proxy.port}`, deadlineMs: DEADLINE_MS });
    tenants = tenantsOf(shared);
  });
  afterEach(async () => {
    server.signal('SIGCONT');
    await shared.close();
    await proxy.close();
    await database.close();
    await server.close();
  });

  const back = async (): Promise<void> => {
    proxy.setMode('refuse');
    proxy.setMode('forward');
    await eventually(
      'the store answers',
      async () =>
        await shared.quota.store.wallet('nobody').then(
          () => true,
          () => false,
        ),
    );
  };
  const bypassRows = async (): Promise<{ tenant_id: string; state: string; resolution: string }[]> => {
    await shared.writeHolds();
    return await database.db.query("SELECT tenant_id, state, resolution FROM quota.hold WHERE kind = 'call' AND state <> 'active' ORDER BY hold_id");
  };

  it('F19 a black hole: each tenant is answered by its policy, labelled, and every bypass is counted and left open', async () => {
    await tenants.make('blocks', { on_store_failure: 'block' }, '10');
    await tenants.make('allows', { on_store_failure: 'allow' }, '10');
    await tenants.make('shadows', { on_store_failure: 'block', enforcement: 'shadow' }, '10');
    proxy.setMode('swallow');
    const degraded = { degraded: true, reason: { code: 'store_unavailable' } };
    expect(await tenants.ask('blocks', '1')).toMatchObject({ decision: 'block', ...degraded });
    expect(await tenants.ask('allows', '1', 'call-1')).toMatchObject({ decision: 'allow', ...degraded });
    expect(await tenants.ask('shadows', '1')).toMatchObject({ decision: 'allow', would: 'block', ...degraded });
    expect(shared.api.app.get(StoreAway).bypasses).toBe(1);
    expect((await shared.api.call('GET', '/metrics')).body).toMatch(/tollgate_authorize_bypassed_total 1/);
    expect(await bypassRows()).toEqual([{ tenant_id: 'allows', state: 'unresolved', resolution: 'bypass' }]);
    await back();
    const usage = { input_tokens: 100, output_tokens: 10 };
    await shared.api.call('POST', '/v1/events', {
      body: { event_id: 'e', tenant_id: 'allows', provider: 'openai', model: 'gpt-4o', call_id: 'call-1', usage },
    });
    await settleEverything(shared.api.app);
    expect(await bypassRows()).toEqual([{ tenant_id: 'allows', state: 'settled', resolution: 'late_event' }]);
    expect((await tenants.ask('blocks', '1')).decision).toBe('allow');
  });

  it('F19 a balance that was known not to cover a call does not cover it while the store is away', async () => {
    await tenants.make('spent', { on_store_failure: 'allow' }, '1');
    expect((await tenants.ask('spent', '2')).reason.code).toBe('too_large');
    proxy.setMode('swallow');
    expect(await tenants.ask('spent', '2')).toMatchObject({ decision: 'block', degraded: true });
    expect(await tenants.ask('spent', '0.5')).toMatchObject({ decision: 'allow', degraded: true });
  });

  it('H7 F19 allow_capped allows what was set aside and committed before, and no nano-dollar more', async () => {
    await tenants.make('capped', { on_store_failure: 'allow_capped' }, '640');
    expect((await tenants.ask('capped', '0.01')).decision).toBe('allow');
    const slices = async (): Promise<{ amount_nano: bigint }[]> =>
      await database.db.query("SELECT amount_nano FROM quota.hold WHERE kind = 'fence' AND state = 'active'");
    await eventually('a slice is committed', async () => (await slices()).length === 1);
    const sliceNano = (await slices())[0]?.amount_nano ?? 0n;
    expect(await tenants.heldNano('capped')).toBe(sliceNano + 10_000_000n);
    proxy.setMode('swallow');
    const costNano = sliceNano / 5n;
    const costUsd = `0.${costNano.toString().padStart(9, '0')}`;
    const answers = await Promise.all(Array.from({ length: 12 }, async () => await tenants.ask('capped', costUsd)));
    expect(answers.filter((answer) => answer.decision === 'allow')).toHaveLength(5);
    expect(answers.every((answer) => answer.degraded)).toBe(true);
    expect(await bypassRows()).toHaveLength(5);
    await back();
    // What was drawn stays held until it runs out, and is given back once.
    expect(await tenants.heldNano('capped')).toBeGreaterThanOrEqual(sliceNano);
    clock.advance(31 * MINUTE_MS);
    await sweepHolds(shared.api.app);
    await sweepHolds(shared.api.app);
    expect(await tenants.ask('capped', '639.9')).toMatchObject({ decision: 'allow', degraded: false });
  });

  it('F19 a server that hangs is not met by a pile, and what it did too late is taken back', async () => {
    await tenants.make('waits', { on_store_failure: 'block' }, '10');
    expect((await tenants.ask('waits', '0.01')).decision).toBe('allow');
    server.signal('SIGSTOP');
    const answers = await Promise.all(Array.from({ length: 300 }, async () => await tenants.ask('waits', '0.01')));
    expect(answers.every((answer) => answer.decision === 'block' && answer.degraded)).toBe(true);
    server.signal('SIGCONT');
    // Answered after everything that waited in the server's sockets was read.
    const direct = new Redis(server.url);
    await direct.ping();
    direct.disconnect();
    await shared.quota.ready(20_000);
    await eventually('late promises are taken back', async () => (await tenants.heldNano('waits')) === 10_000_000n);
    await shared.writeHolds();
    clock.advance(16 * MINUTE_MS);
    await sweepHolds(shared.api.app);
    const charged = await database.db.query<{ n: bigint }>("SELECT count(*) AS n FROM quota.hold WHERE state = 'unresolved'");
    expect(charged[0]?.n).toBe(1n);
  });

  it('F17 a replica that missed the last writes is promoted: the epoch is bumped and strict holds are not promised again', async () => {
    const replica = await startRedis();
    const admin = new Redis(replica.url);
    await tenants.make('acme', { hold_durability: 'strict' }, '10');
    await tenants.ask('acme', '1');
    await admin.call('REPLICAOF', '127.0.0.1', String(target.port));
    await eventually('the replica has the state', async () => (await admin.keys('tollgate:q2:*:state')).length === 1);
    await admin.call('REPLICAOF', 'NO', 'ONE');
    await tenants.ask('acme', '6');
    const epoch = await epochOfSingle(database);
    target.port = Number(new URL(replica.url).port);
    await server.kill?.();
    await eventually('the epoch is bumped', async () => (await epochOfSingle(database)) > epoch);
    await shared.quota.ready(20_000);
    expect((await tenants.ask('acme', '4')).reason.code).toBe('in_flight_exhausted');
    expect(await tenants.heldNano('acme')).toBe(7_000_000_000n);
    admin.disconnect();
    await replica.close();
  });
});

describeWithRedis('one node of a Redis Cluster that is lost', () => {
  it('F15 makes only its own tenants unknown, and they are rebuilt', async () => {
    const cluster = await startRedisCluster();
    const database = await openTestDatabase();
    const shared = await startSharedApi({ database, clock: new FixedClock(), redisUrl: cluster.urls.join(','), deadlineMs: 5_000 });
    const tenants = tenantsOf(shared);
    const ids = ['}x', 'a:b', 'a}b', 'acme', 'globex', 'initech', 'umbrella', 'hooli', 'soylent'];
    const nodeEpochs = async (): Promise<Map<string, bigint>> => {
      const rows = await database.db.query<{ node: string; epoch: bigint }>('SELECT node, epoch FROM quota.store_node');
      return new Map(rows.map((row) => [row.node, row.epoch]));
    };
    for (const id of ids) {
      await tenants.make(encodeURIComponent(id), { hold_durability: 'strict' }, '10');
      expect((await tenants.ask(id, '6')).decision).toBe('allow');
    }
    const before = await nodeEpochs();
    const epochOf = new Map(ids.map((id) => [id, shared.quota.fence.current(id)]));
    await cluster.restart(1);
    await eventually('the node has another epoch', async () => [...(await nodeEpochs())].some(([node, epoch]) => before.get(node) !== epoch));
    await shared.quota.ready(20_000);
    const changed = [...(await nodeEpochs())].filter(([node, epoch]) => before.get(node) !== epoch).map(([node]) => node);
    expect(changed).toEqual([new URL(cluster.urls[1] ?? '').host]);
    const moved = ids.filter((id) => shared.quota.fence.current(id) !== epochOf.get(id));
    expect([moved.length > 0, moved.length < ids.length]).toEqual([true, true]);
    for (const id of ids) expect((await tenants.ask(id, '5')).reason.code).toBe('in_flight_exhausted');
    await shared.close();
    await database.close();
    await cluster.close();
  });
});
