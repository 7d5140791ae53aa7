/** The right to promise without a process lock: one epoch, until the test takes it away. */
import type { Database } from '#libs/platform/postgres/database.js';
import { QuotaFence, takeEpoch } from '#libs/quota/index.js';

export class TestFence extends QuotaFence {
  override readonly exclusive = true;
  private readonly listeners: (() => void)[] = [];

  private constructor(private epoch: bigint | null) {
    super();
  }

  /** Whoever held a fence on this database before is stale from now on. */
  static async take(database: Database): Promise<TestFence> {
    return new TestFence(await takeEpoch(database, new Date(0)));
  }

  override current(): bigint | null {
    return this.epoch;
  }

  override onLost(listener: () => void): void {
    this.listeners.push(listener);
  }

  lose(): void {
    this.epoch = null;
    for (const listener of this.listeners) listener();
  }

  async renew(database: Database): Promise<void> {
    this.lose();
    await this.retake(database);
  }

  async retake(database: Database): Promise<void> {
    this.epoch = await takeEpoch(database, new Date(0));
  }
}
