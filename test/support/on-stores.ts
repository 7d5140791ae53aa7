/**
 * Runs a suite of the API once for each place where the quota state can be: this process's memory, and a Redis Cluster of three nodes, where
 * the ids of tenants are such as would end a hash tag or look like another tenant's key. What is asked and expected is the same.
 */
import { redisTarget } from '#libs/platform/config/config.js';
import { openQuotaRedis, type QuotaRedis } from '#libs/quota/index.js';
import { FixedClock } from '#libs/kernel/testing/fixed-clock.js';
import { Redis } from 'ioredis';
import { startTestApi, type TestApi } from './api.js';
import { openTestDatabase } from './database.js';
import { eventually } from './eventually.js';
import { PLAIN_TENANTS, type TenantShape } from './quota-api.js';
import { describeWithRedis, startRedisCluster, type TestRedisCluster } from './redis.js';

export interface StoreShape {
  /** The API on a database of its own. */
  readonly start: (options?: { clock?: FixedClock }) => Promise<TestApi>;
  readonly tenants: TenantShape;
}

const ENDINGS = ['}x', 'a:b', 'a}b'];
// A slice set aside for when the store is away is held money, which these suites do not count.
const HOSTILE_TENANTS: TenantShape = { ending: (id) => ENDINGS[id % ENDINGS.length] ?? '', settings: { on_store_failure: 'block' } };
const READY_MS = 20_000;
const DEADLINE_MS = 30_000;

export function describeOnStores(name: string, suite: (shape: StoreShape) => void): void {
  describe(`${name}, with the quota state in memory`, () => suite({ start: startTestApi, tenants: PLAIN_TENANTS }));
  describeWithRedis(`${name}, with the quota state in a Redis Cluster`, () => {
    let cluster: TestRedisCluster;
    beforeAll(async () => {
      cluster = await startRedisCluster();
    });
    afterAll(async () => await cluster.close());
    suite({ start: async (options) => await startOnCluster(cluster, options), tenants: HOSTILE_TENANTS });
  });
}

async function startOnCluster(cluster: TestRedisCluster, { clock = new FixedClock() }: { clock?: FixedClock } = {}): Promise<TestApi> {
  // Another database counts its epochs from one again.
  for (const url of cluster.urls) {
    const node = new Redis(url);
    await node.flushall();
    node.disconnect();
  }
  const database = await openTestDatabase();
  const target = redisTarget(cluster.urls.join(','));
  const quota = openQuotaRedis({ target, database: database.db, clock, deadlineMs: DEADLINE_MS, report: () => undefined });
  await quota.ready(READY_MS);
  const api = await startTestApi({ clock, database, quota });
  return {
    ...api,
    loseState: async () => await loseState(quota, api),
    close: async () => {
      await api.close();
      quota.close();
      await database.close();
    },
  };
}

/** Every server is taken for another one: its state is there and counts no longer. */
async function loseState(quota: QuotaRedis, { database }: TestApi): Promise<void> {
  const before = await epochs(database);
  await database.db.execute("UPDATE quota.store_node SET run_id = 'another', epoch = epoch + 1000");
  await eventually('every server has another epoch', async () => {
    const after = await epochs(database);
    return quota.problems().length === 0 && [...before].every(([node, epoch]) => (after.get(node) ?? 0n) > epoch && (after.get(node) ?? 0n) < 1_000n);
  });
}

async function epochs({ db }: TestApi['database']): Promise<Map<string, bigint>> {
  const rows = await db.query<{ node: string; epoch: bigint }>('SELECT node, epoch FROM quota.store_node');
  return new Map(rows.map(({ node, epoch }) => [node, epoch]));
}
