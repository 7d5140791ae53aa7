/** API processes that share a database and a Redis, as the scaled-out shape runs them: one application each, without their schedules. */
import type { FixedClock } from '#libs/kernel/testing/fixed-clock.js';
import { HoldJournal, openQuotaRedis, type QuotaRedis } from '#libs/quota/index.js';
import { redisTarget } from '#libs/platform/config/config.js';
import { startTestApi, type TestApi } from './api.js';
import type { TestDatabase } from './database.js';

export interface SharedApi {
  readonly api: TestApi;
  readonly quota: QuotaRedis;
  /** What the schedule does every 100 ms. */
  writeHolds(): Promise<void>;
  close(): Promise<void>;
}

const READY_MS = 20_000;

export async function startSharedApi(input: {
  database: TestDatabase;
  clock: FixedClock;
  redisUrl: string;
  deadlineMs?: number;
  environment?: Record<string, string>;
}): Promise<SharedApi> {
  const { database, clock, redisUrl, deadlineMs = 30_000, environment = {} } = input;
  const quota = openQuotaRedis({ target: redisTarget(redisUrl), database: database.db, clock, deadlineMs, report: () => undefined });
  await quota.ready(READY_MS);
  const api = await startTestApi({ database, clock, quota, environment });
  return {
    api,
    quota,
    writeHolds: async () => await api.app.get(HoldJournal).flush(),
    close: async () => {
      await api.close();
      quota.close();
    },
  };
}

/** Which epochs were given, newest last. */
export async function epochOfSingle(database: TestDatabase): Promise<bigint> {
  const [row] = await database.db.query<{ epoch: bigint }>("SELECT epoch FROM quota.store_node WHERE node = 'single'");
  return row?.epoch ?? 0n;
}
