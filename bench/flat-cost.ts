/**
 * What a decision costs by how much else there is: tenants that are known, and open holds of the tenant that asks. On each store the port itself
 * is timed, promise and release one after the other on one connection, so what grows would show. The yardstick is the smallest setting.
 */
import { newUuid, SystemClock } from '#libs/kernel/index.js';
import { Database } from '#libs/platform/postgres/database.js';
import { MemoryQuotaStore, openQuotaRedis, type QuotaStore } from '#libs/quota/index.js';
import { BenchDatabase } from './harness/bench-database.js';
import { BenchRedis } from './harness/bench-redis.js';
import { median, publishFigures } from './harness/report.js';
import type { BenchOptions } from './harness/session.js';
import { claimsOf, commandOf, snapshotOf } from './payloads/quota-calls.js';
import { benchTenant } from './payloads/template.js';

interface Setting {
  readonly name: string;
  readonly tenants: number;
  readonly holds: number;
}

const SMALLEST: Setting = { name: '10 tenants, 10 holds', tenants: 10, holds: 10 };
const SETTINGS: readonly Setting[] = [
  SMALLEST,
  { name: '1,000 tenants', tenants: 1_000, holds: 10 },
  { name: '100,000 tenants', tenants: 100_000, holds: 10 },
  { name: '1,000 holds', tenants: 10, holds: 1_000 },
  { name: '10,000 holds', tenants: 10, holds: 10_000 },
];
/** Flat: within what one run differs from the next. */
const FLAT = 1.5;
const LOADED_TOGETHER = 1_000;
const DEADLINE_MS = 10_000;

export async function flatCost(options: BenchOptions): Promise<void> {
  const figures: Record<string, number> = {};
  let worst = 0;
  const note = (store: string, pairs: ReadonlyMap<Setting, readonly number[]>): void => {
    const base = median(pairs.get(SMALLEST) ?? []);
    for (const [setting, times] of pairs) {
      figures[`${store}, ${setting.name}: us`] = Math.round(median(times) * 10) / 10;
      worst = Math.max(worst, median(times) / base);
    }
  };
  note('memory', await timeAll(options.rounds, 20_000, async () => new MemoryQuotaStore()));
  await withRedis(async (makeStore) => note('redis', await timeAll(options.rounds, 2_000, makeStore)));
  figures['dearest against the smallest'] = Math.round(worst * 100) / 100;
  publishFigures({ name: 'flat-cost', figures, met: worst <= FLAT, bar: `flat: at most ${FLAT} times the smallest setting` });
}

/** Microseconds of a promise and its release, in every setting, round after round. */
async function timeAll(rounds: number, calls: number, makeStore: () => Promise<QuotaStore>): Promise<Map<Setting, number[]>> {
  const clock = new SystemClock();
  const nowMs = (): number => clock.now().getTime();
  const times = new Map<Setting, number[]>(SETTINGS.map((setting) => [setting, []]));
  const stores = new Map<Setting, QuotaStore>();
  for (const setting of SETTINGS) stores.set(setting, await filled(await makeStore(), setting, nowMs));
  for (let round = 0; round <= rounds; round += 1) {
    for (const [setting, store] of stores) {
      const startedAt = performance.now();
      for (let index = 0; index < calls; index += 1) {
        const tenantId = tenantOf(setting, 0);
        const hold = await promise(store, tenantId, nowMs());
        await store.end({ tenantId, holdId: hold, ending: { to: 'released', resolution: 'release' }, nowMs: nowMs() });
      }
      // The first round warms up.
      if (round > 0) times.get(setting)?.push(((performance.now() - startedAt) * 1_000) / calls);
    }
  }
  return times;
}

/** Names of its own for each setting, because one Redis keeps them all. */
function tenantOf(setting: Setting, index: number): string {
  return `${setting.tenants}-${setting.holds}-${benchTenant(index)}`;
}

async function filled(store: QuotaStore, setting: Setting, nowMs: () => number): Promise<QuotaStore> {
  for (let from = 0; from < setting.tenants; from += LOADED_TOGETHER) {
    const count = Math.min(LOADED_TOGETHER, setting.tenants - from);
    await store.load(
      Array.from({ length: count }, (_value, index) => snapshotOf(tenantOf(setting, from + index))),
      nowMs(),
    );
  }
  for (let hold = 0; hold < setting.holds; hold += 1) await promise(store, tenantOf(setting, 0), nowMs());
  return store;
}

/** @throws Error when a call that fits is refused */
async function promise(store: QuotaStore, tenantId: string, nowMs: number): Promise<string> {
  const holdId = newUuid(new Date(nowMs));
  const { kind } = await store.reserve(commandOf(tenantId, holdId, claimsOf(nowMs), nowMs));
  if (kind !== 'held') throw new Error(`a call that fits was answered ${kind}`);
  return holdId;
}

async function withRedis(work: (makeStore: () => Promise<QuotaStore>) => Promise<void>): Promise<void> {
  const database = await BenchDatabase.start();
  const server = await BenchRedis.start();
  const db = new Database({ connectionString: database.subjectUrl, maxConnections: 2, role: null, applicationName: 'bench-flat' });
  const quota = openQuotaRedis({
    target: { urls: [server.url], cluster: false },
    database: db,
    clock: new SystemClock(),
    deadlineMs: DEADLINE_MS,
    report: (message) => process.stderr.write(`${message}\n`),
  });
  try {
    await quota.ready(DEADLINE_MS);
    await work(async () => quota.store);
  } finally {
    quota.close();
    await db.close();
    await server.stop();
    await database.stop();
  }
}
