import { redisTarget } from '../config/config.js';
import type { Logger } from '../logging/logger.js';
import { openPostgresQueue, openRedisQueue, type QueueBackend } from './queue-backend.js';

/** A queue that is away says so over and over; one line in this time is enough. */
const REPORT_INTERVAL_MS = 10_000;

/** Redis where there is one, else PostgreSQL. Trouble of the queue is logged, at most one line in ten seconds, and never fatal. */
export async function openQueueBackend(input: { redisUrl: string | null; connectionString: string; logger: Logger }): Promise<QueueBackend> {
  const onError = throttledReport(input.logger);
  if (input.redisUrl !== null) return openRedisQueue({ ...redisTarget(input.redisUrl), onError });
  return await openPostgresQueue({ connectionString: input.connectionString, onError });
}

export function throttledReport(logger: Logger): (error: unknown) => void {
  let quietUntil = 0;
  return (error) => {
    if (performance.now() < quietUntil) return;
    quietUntil = performance.now() + REPORT_INTERVAL_MS;
    logger.warn({ error }, 'the queue is in trouble; the sweep does its work meanwhile');
  };
}
