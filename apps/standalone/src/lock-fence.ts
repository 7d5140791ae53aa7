/**
 * The right to promise in the single process: the process lock, proven by a question asked less than three seconds ago, and the epoch
 * taken since the lock was acquired. A process that was paused wakes up with an old proof and hence without the right; one that lost the
 * lock has to take it and a new epoch again, and whatever it knew is forgotten meanwhile.
 */
import { SystemClock, type Clock } from '#libs/kernel/index.js';
import type { Logger } from '#libs/platform/logging/logger.js';
import type { ProcessLock } from '#libs/platform/postgres/process-lock.js';
import { QuotaFence, takeEpoch } from '#libs/quota/index.js';
import { setTimeout as delay } from 'node:timers/promises';

/** Six heartbeats: a busy moment costs no right. What is promised in it by a lock already lost is covered by ceilings and epochs. */
const PROVEN_WITHIN_MS = 3_000;
const RETRY_MS = 250;

export class LockFence extends QuotaFence {
  override readonly exclusive = true;
  private epoch: bigint | null = null;
  private acquisition = 0;
  private readonly listeners: (() => void)[] = [];

  constructor(
    private readonly lock: Pick<ProcessLock, 'isHeld' | 'provenAgoMs' | 'query'>,
    private readonly clock: Clock,
    private readonly logger: Logger,
  ) {
    super();
  }

  override current(): bigint | null {
    return this.epoch !== null && this.lock.isHeld && this.lock.provenAgoMs < PROVEN_WITHIN_MS ? this.epoch : null;
  }

  override onLost(listener: () => void): void {
    this.listeners.push(listener);
  }

  /** Tell it when the lock was lost or is held again. */
  lockChanged(held: boolean): void {
    this.acquisition += 1;
    this.epoch = null;
    for (const listener of this.listeners) listener();
    if (held) void this.takeEpoch();
  }

  /** Takes an epoch in the lock's own session, so that no process takes one for a lock it lost; tries until it has one or the lock is lost. */
  async takeEpoch(): Promise<void> {
    const { acquisition } = this;
    while (this.lock.isHeld && acquisition === this.acquisition) {
      try {
        const epoch = await takeEpoch(this.lock, this.clock.now());
        if (acquisition === this.acquisition) this.epoch = epoch;
        return;
      } catch (error) {
        this.logger.warn({ error }, 'no epoch could be taken; no hold is given out until there is one');
        await delay(RETRY_MS);
      }
    }
  }
}

/** The fence of a process that has the lock and a migrated database; it may promise when this returns. */
export async function promiseBehind(locked: { lock: ProcessLock; onChange: (listener: (held: boolean) => void) => void }, logger: Logger): Promise<LockFence> {
  const fence = new LockFence(locked.lock, new SystemClock(), logger);
  locked.onChange((held) => fence.lockChanged(held));
  await fence.takeEpoch();
  return fence;
}
