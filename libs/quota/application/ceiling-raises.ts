/**
 * Commits higher ceilings, all that are asked for while one batch is under way together: after a start every tenant asks for one within
 * seconds. What was promised before a raise is recorded with it, because the journal has written it by then.
 */
import type { Nano } from '#libs/kernel/index.js';

export interface CeilingRaise {
  readonly tenantId: string;
  readonly ceilingNano: Nano;
  /** What was promised when the raise was asked for. */
  readonly recordedNano: Nano;
}

/** Commits the raises for an epoch and returns the tenants whose ceiling is that epoch's. @throws DomainError storage.unavailable */
export type CommitCeilings = (epoch: bigint, raises: readonly CeilingRaise[]) => Promise<ReadonlySet<string>>;

interface Waiting {
  readonly raise: CeilingRaise;
  readonly epoch: bigint;
  readonly resolve: (raised: boolean) => void;
  readonly reject: (error: unknown) => void;
}

const BATCH = 500;

export class CeilingRaises {
  private waiting: Waiting[] = [];
  private running = false;

  constructor(
    private readonly flushJournal: () => Promise<void>,
    private readonly commit: CommitCeilings,
  ) {}

  /** Whether the ceiling was raised: false when another epoch has the tenant. One raise of a tenant at a time. @throws DomainError storage.unavailable */
  async raise(raise: CeilingRaise, epoch: bigint): Promise<boolean> {
    return await new Promise<boolean>((resolve, reject) => {
      this.waiting.push({ raise, epoch, resolve, reject });
      void this.pump();
    });
  }

  /** Never rejects: failures go to those who wait. */
  private async pump(): Promise<void> {
    if (this.running) return;
    this.running = true;
    // Whoever asks in the same turn of the event loop goes along.
    await Promise.resolve();
    for (let first = this.waiting[0]; first !== undefined; first = this.waiting[0]) {
      const { epoch } = first;
      const batch = this.waiting.filter((entry) => entry.epoch === epoch).slice(0, BATCH);
      const taken = new Set(batch);
      this.waiting = this.waiting.filter((entry) => !taken.has(entry));
      try {
        await this.flushJournal();
        const raised = await this.commit(
          epoch,
          batch.map((entry) => entry.raise),
        );
        for (const { raise, resolve } of batch) resolve(raised.has(raise.tenantId));
      } catch (error) {
        for (const { reject } of batch) reject(error);
      }
    }
    this.running = false;
  }
}
