/** H10: one suite, three stores. */
import { describeQuotaStore } from '../support/quota-conformance.js';
import { openMemoryStore, openRedisStore, type OpenStore } from '../support/quota-stores.js';
import { describeWithRedis, startRedis, startRedisCluster, type TestRedis } from '../support/redis.js';

describe('the quota store in memory', () => {
  const opened = openMemoryStore();
  describeQuotaStore(() => opened);
});

describeWithRedis('the quota store on one Redis', () => {
  let server: TestRedis;
  let opened: OpenStore;
  beforeAll(async () => {
    server = await startRedis();
    opened = await openRedisStore({ urls: [server.url], cluster: false });
  });
  afterAll(async () => {
    opened.close();
    await server.close();
  });
  describeQuotaStore(() => opened);
});

describeWithRedis('the quota store on a Redis Cluster of three nodes', () => {
  let cluster: Awaited<ReturnType<typeof startRedisCluster>>;
  let opened: Awaited<ReturnType<typeof openRedisStore>>;
  beforeAll(async () => {
    cluster = await startRedisCluster();
    opened = await openRedisStore({ urls: [cluster.urls[0] ?? ''], cluster: true });
  });
  afterAll(async () => {
    opened.close();
    await cluster.close();
  });
  describeQuotaStore(() => opened);

  it('spreads tenants over all three', () => {
    const names = Array.from({ length: 100 }, (_value, index) => opened.nodes.of(`tenant ${index}`).name);
    expect(new Set(names).size).toBe(3);
  });
});
