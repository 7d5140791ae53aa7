import { SystemClock } from '#libs/kernel/index.js';
import { redisTarget, type Config } from '#libs/platform/config/config.js';
import type { HealthChecks } from '#libs/platform/health/health.js';
import type { Closers } from '#libs/platform/lifecycle/run-program.js';
import type { Logger } from '#libs/platform/logging/logger.js';
import type { Database } from '#libs/platform/postgres/database.js';
import { openQuotaRedis, type QuotaRedis } from '#libs/quota/index.js';

/** One line about a server in trouble in this time is enough. */
const REPORT_INTERVAL_MS = 10_000;
const START_TIMEOUT_MS = 10_000;

/** The quota state that this process shares with others. @throws Error when Redis may evict it, or does not answer at start-up */
export async function openSharedQuota(input: {
  config: Config;
  redisUrl: string;
  database: Database;
  logger: Logger;
  health: HealthChecks;
  closers: Closers;
}): Promise<QuotaRedis> {
  const { config, database, logger, health } = input;
  let quietUntil = 0;
  const quota = openQuotaRedis({
    target: redisTarget(input.redisUrl),
    database,
    clock: new SystemClock(),
    deadlineMs: config.redisDeadlineMs,
    report: (message, error) => {
      if (performance.now() < quietUntil) return;
      quietUntil = performance.now() + REPORT_INTERVAL_MS;
      logger.warn({ error }, message);
    },
  });
  input.closers.add('quota store', () => {
    quota.close();
    return Promise.resolve();
  });
  await quota.ready(START_TIMEOUT_MS);
  health.add('quota-store', () => {
    const problems = quota.problems();
    return Promise.resolve(problems.length === 0 ? { ok: true } : { ok: false, note: problems.join('; ') });
  });
  return quota;
}
