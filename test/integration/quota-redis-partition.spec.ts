/**
 * F24: one of two processes is cut off from Redis alone, or from PostgreSQL alone. What needs the lost one goes by the tenant's policy and says
 * so, what does not goes on, and the other process notices nothing.
 */
import { FixedClock } from '#libs/kernel/testing/fixed-clock.js';
import { Database } from '#libs/platform/postgres/database.js';
import { openTestDatabase, type TestDatabase } from '../support/database.js';
import { eventually } from '../support/eventually.js';
import { describeWithRedis, startRedis, type TestRedis } from '../support/redis.js';
import { epochOfSingle, startSharedApi, type SharedApi } from '../support/shared-quota.js';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.js';

const DEADLINE_MS = 1_000;
const CALL = { model: 'gpt-4o', provider: 'openai' };
const TENANTS = {
  blocks: { on_store_failure: 'block' },
  allows: { on_store_failure: 'allow' },
  strict: { on_store_failure: 'block', hold_durability: 'strict' },
  stranger: { on_store_failure: 'block' },
};

describeWithRedis('F24 a process that is cut off', () => {
  let server: TestRedis;
  let database: TestDatabase;
  let behind: Database;
  let toRedis: TcpProxy;
  let toPostgres: TcpProxy;
  let redisTarget: { host: string; port: number };
  let cut: SharedApi;
  let whole: SharedApi;

  beforeEach(async () => {
    server = await startRedis();
    database = await openTestDatabase();
    redisTarget = { host: '127.0.0.1', port: Number(new URL(server.url).port) };
    toRedis = await startTcpProxy(redisTarget);
    const url = new URL(database.url);
    toPostgres = await startTcpProxy({ host: url.hostname, port: Number(url.port) });
    url.port = String(toPostgres.port);
    behind = new Database({
      connectionString: url.href,
      maxConnections: 10,
      role: null,
      applicationName: 'cut-off',
      statementTimeoutMs: 2_000,
      connectTimeoutMs: 1_000,
    });
    const clock = new FixedClock();
    const environment = { TOLLGATE_STORE_DEADLINE_MS: String(DEADLINE_MS) };
    whole = await startSharedApi({ database, clock, redisUrl: server.url });
    cut = await startSharedApi({
      database: { ...database, db: behind },
      clock,
      redisUrl: `redis://127.0.0.1:${toRedis.port}`,
      deadlineMs: DEADLINE_MS,
      environment,
    });
    const put = async (tenantId: string, body: object): Promise<void> => void (await whole.api.call('PUT', `/v1/tenants/${tenantId}`, { body }));
    await put('marker', {});
    for (const [tenantId, settings] of Object.entries(TENANTS)) {
      await put(tenantId, settings);
      await whole.api.call('POST', `/v1/tenants/${tenantId}/credits`, { body: { amount_usd: '100', kind: 'paid' }, headers: { 'idempotency-key': tenantId } });
    }
    await put('marker', { enforcement: 'off' });
    await eventually('the process heard of the last change', async () => (await ask(cut, 'marker')).decision === 'allow');
    // It knows all four and their settings; the store does not know the last one.
    for (const tenantId of Object.keys(TENANTS)) expect(await ask(cut, tenantId)).toMatchObject(fine);
    await cut.quota.store.forget('stranger');
  });
  afterEach(async () => {
    for (const proxy of [toRedis, toPostgres]) proxy.setMode('forward');
    await cut.close();
    await whole.close();
    await behind.close();
    await toRedis.close();
    await toPostgres.close();
    await database.close();
    await server.close();
  });

  const ask = async ({ api }: SharedApi, tenantId: string): Promise<any> =>
    (await api.call('POST', '/v1/authorize', { body: { ...CALL, tenant_id: tenantId, estimated_cost_usd: '0.01' } })).body;
  const away = (decision: string): object => ({ decision, degraded: true, reason: { code: 'store_unavailable' } });
  const fine = { decision: 'allow', degraded: false, reason: { code: 'ok' } };
  const works = async (): Promise<void> => {
    await eventually('everybody is answered as before', async () => {
      const answers = await Promise.all(Object.keys(TENANTS).map(async (tenantId) => await ask(cut, tenantId)));
      return answers.every(({ decision, degraded }) => decision === 'allow' && degraded === false);
    });
  };

  it('from Redis alone: every tenant goes by its policy, labelled; the other process goes on, and so does this one afterwards, in the same epoch', async () => {
    const epoch = await epochOfSingle(database);
    toRedis.setMode('swallow');
    expect(await ask(cut, 'blocks')).toMatchObject(away('block'));
    expect(await ask(cut, 'allows')).toMatchObject(away('allow'));
    expect(await ask(cut, 'strict')).toMatchObject(away('block'));
    for (const tenantId of Object.keys(TENANTS)) expect(await ask(whole, tenantId)).toMatchObject(fine);
    toRedis.setMode('forward');
    await works();
    expect(await epochOfSingle(database)).toBe(epoch);
  });

  it('from PostgreSQL alone: fast tenants that the store knows are answered, what has to be committed or read first goes by policy, labelled', async () => {
    toPostgres.setMode('swallow');
    expect(await ask(cut, 'blocks')).toMatchObject(fine);
    expect(await ask(cut, 'allows')).toMatchObject(fine);
    expect(await ask(cut, 'strict')).toMatchObject(away('block'));
    expect(await ask(cut, 'stranger')).toMatchObject(away('block'));
    for (const tenantId of Object.keys(TENANTS)) expect(await ask(whole, tenantId)).toMatchObject(fine);
    toPostgres.setMode('forward');
    await works();
  });

  it('from PostgreSQL while Redis is replaced: promises nothing from a server that nobody vouches for', async () => {
    toPostgres.setMode('swallow');
    await server.kill?.();
    await server.restart();
    await whole.quota.ready(20_000);
    expect(await ask(whole, 'blocks')).toMatchObject(fine);
    expect(await ask(cut, 'blocks')).toMatchObject(away('block'));
    expect(await ask(cut, 'allows')).toMatchObject(away('allow'));
    // The store itself neither reads nor writes there, whoever asks it.
    await expect(cut.quota.store.wallet('blocks')).rejects.toMatchObject({ code: 'quota.store_away' });
    toPostgres.setMode('forward');
    await works();
    expect(cut.quota.fence.current('blocks')).toBe(await epochOfSingle(database));
  });
});
