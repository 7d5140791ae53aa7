import type { Closers } from '#libs/platform/lifecycle/run-program.js';
import type { Logger } from '#libs/platform/logging/logger.js';
import { throttledReport } from '#libs/platform/queue/open-queue.js';
import type { QueueBackend } from '#libs/platform/queue/queue-backend.js';
import { ThrottledWakeUp, type SpendWakeUp } from '#libs/platform/queue/spend-wake-up.js';

/** What ingestion calls after its commit; see SpendWakeUp for what may be lost. */
export function openWakeUp(input: { backend: QueueBackend; logger: Logger; closers: Closers }): SpendWakeUp {
  const queue = input.backend.openQueue();
  const wakeUp = new ThrottledWakeUp((shard) => queue.add(shard), throttledReport(input.logger));
  input.closers.add('wake-up', async () => {
    wakeUp.close();
    await queue.close();
  });
  return wakeUp;
}
