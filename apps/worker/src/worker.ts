/**
 * The worker's engine: takes the table in subscriptions.ts and keeps it running. Guarantees: a failure of one line is logged and never
 * stops another; acknowledged events that nobody has posted for ten seconds turn readiness red; `close()` finishes what is under way.
 */
import { SECOND_MS } from '#libs/kernel/index.js';
import { MeasurePostingLag } from '#libs/metering/index.js';
import type { HealthChecks } from '#libs/platform/health/health.js';
import type { Logger } from '#libs/platform/logging/logger.js';
import { throttledReport } from '#libs/platform/queue/open-queue.js';
import type { QueueBackend } from '#libs/platform/queue/queue-backend.js';
import { Schedules } from '#libs/platform/queue/schedules.js';
import { SpendWorker, SWEEP_SHARED_MS, SWEEP_SINGLE_MS } from '#libs/platform/queue/spend-worker.js';
import { subscriptions, type Resolve } from './subscriptions.js';

export interface WorkerOptions {
  readonly resolve: Resolve;
  readonly backend: QueueBackend;
  readonly health: HealthChecks;
  readonly logger: Logger;
  /** Other processes share the database: they sweep too. */
  readonly shared: boolean;
  /** This process keeps the quota state: it relays what is booked to it and ends holds. */
  readonly promises: boolean;
}

export interface RunningWorker {
  close(): Promise<void>;
}

/** Shards posted at once. Two keep the database busy; more take it from ingestion under load, with smaller batches that cost more each. */
const CONCURRENCY = 2;
/** A wake-up is answered within milliseconds and a sweep within seconds: ten mean that nobody is posting. */
const MAX_LAG_MS = 10 * SECOND_MS;

export function startWorker({ resolve, backend, health, logger, shared, promises }: WorkerOptions): RunningWorker {
  const table = subscriptions(resolve);
  const onQueueError = throttledReport(logger);
  const worker = SpendWorker.start({
    backend,
    ...table.spend,
    sweepIntervalMs: shared ? SWEEP_SHARED_MS : SWEEP_SINGLE_MS,
    concurrency: CONCURRENCY,
    onError: (error, during) => (during === 'queue' ? onQueueError(error) : logger.error({ error, during }, 'posting failed; it is tried again')),
  });
  const schedules = new Schedules((error, task) => logger.error({ error, task }, 'a scheduled task failed; it is tried again'));
  const requeue = coalesced(table.priceChange.run, (error) => logger.error({ error }, 'quarantined events were not tried again'));
  table.priceChange.subscribe(requeue.ask);
  schedules.start([...table.schedules, ...(promises ? table.quotaSchedules : [])]);
  health.add('posting-lag', async () => {
    const { lagMs } = await resolve(MeasurePostingLag).execute();
    return { ok: lagMs <= MAX_LAG_MS, note: `oldest acknowledged event not yet posted: ${Math.round(lagMs / SECOND_MS)} s` };
  });
  return {
    close: async () => {
      await Promise.all([schedules.close(), worker.close()]);
      await requeue.settled();
    },
  };
}

/** Runs `work` after each `ask`, one at a time; asks that come during a run are answered by one more. */
function coalesced(work: () => Promise<unknown>, onError: (error: unknown) => void): { ask: () => void; settled: () => Promise<void> } {
  let running: Promise<void> | null = null;
  let again = false;
  const run = async (): Promise<void> => {
    do {
      again = false;
      await work().catch(onError);
    } while (again);
    running = null;
  };
  return {
    ask: () => {
      if (running) again = true;
      else running = run();
    },
    settled: async () => void (await running),
  };
}
