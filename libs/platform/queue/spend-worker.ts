/**
 * Runs the work a wake-up asks for. Guarantees: one run per shard at a time in this process; every shard with waiting rows is worked
 * on within one sweep interval, whatever became of its wake-ups; a run that throws is reported and tried again by the next sweep;
 * `close()` returns when the runs under way are finished.
 */
import type { QueueBackend, WakeUpWorker } from './queue-backend.js';

export interface SpendWorkerOptions {
  readonly backend: QueueBackend;
  /** Empties one shard. */
  readonly onWake: (shard: number) => Promise<void>;
  /** Which shards have waiting rows. */
  readonly findWaiting: () => Promise<readonly number[]>;
  readonly sweepIntervalMs: number;
  /** Shards worked on at once. */
  readonly concurrency: number;
  readonly onError: (error: unknown, during: 'queue' | 'sweep' | 'work') => void;
}

/** A single process finds lost wake-ups within a second; N workers that share one database ask less often. */
export const SWEEP_SINGLE_MS = 1_000;
export const SWEEP_SHARED_MS = 5_000;

export class SpendWorker {
  private readonly active = new Map<number, Promise<void>>();
  private readonly worker: WakeUpWorker;
  private timer: NodeJS.Timeout | undefined;
  private sweeping: Promise<void> = Promise.resolve();
  private closed = false;

  private constructor(private readonly options: SpendWorkerOptions) {
    this.worker = options.backend.openWorker({
      concurrency: options.concurrency,
      process: async (shard) => await this.answer(shard),
      onError: (error) => options.onError(error, 'queue'),
    });
    this.scheduleSweep(0);
  }

  static start(options: SpendWorkerOptions): SpendWorker {
    return new SpendWorker(options);
  }

  /** Takes no more work and waits for what is under way. */
  async close(): Promise<void> {
    this.closed = true;
    clearTimeout(this.timer);
    await this.sweeping;
    await this.worker.close().catch((error: unknown) => this.options.onError(error, 'queue'));
    await Promise.all(this.active.values());
  }

  /** A wake-up may stand for rows that the run under way has already looked past, so it waits for that run and makes its own. */
  private async answer(shard: number): Promise<void> {
    for (let running = this.active.get(shard); running; running = this.active.get(shard)) await running;
    await this.run(shard);
  }

  /** Never throws: the queue's own retries would only repeat what the sweep does better. */
  private async run(shard: number): Promise<void> {
    const run = this.options
      .onWake(shard)
      .catch((error: unknown) => this.options.onError(error, 'work'))
      .finally(() => this.active.delete(shard));
    this.active.set(shard, run);
    await run;
  }

  private scheduleSweep(delayMs: number): void {
    this.timer = setTimeout(() => {
      this.sweeping = this.sweep().finally(() => {
        if (!this.closed) this.scheduleSweep(this.options.sweepIntervalMs);
      });
    }, delayMs);
  }

  private async sweep(): Promise<void> {
    try {
      const queue = [...(await this.options.findWaiting())];
      const lanes = Array.from({ length: Math.min(this.options.concurrency, queue.length) }, async () => {
        for (let shard = queue.shift(); shard !== undefined && !this.closed; shard = queue.shift()) {
          if (!this.active.has(shard)) await this.run(shard);
        }
      });
      await Promise.all(lanes);
    } catch (error) {
      this.options.onError(error, 'sweep');
    }
  }
}
