import type { DecisionLog } from './decision-log.js';
import type { HoldJournal } from './hold-journal.js';
import type { QuotaFence } from './ports.js';

/** The clean end of a process that promised: everything noted is written, so that the next start has no lost promise to cover. */
export class StopPromising {
  constructor(
    private readonly journal: HoldJournal,
    private readonly log: DecisionLog,
    private readonly fence: QuotaFence,
    private readonly sealCeilings: (epoch: bigint) => Promise<void>,
  ) {}

  /** Call it when no request is under way any more. @throws DomainError storage.unavailable: the next start covers what was lost */
  async execute(): Promise<void> {
    await this.log.flush();
    const epoch = this.fence.current();
    if (epoch === null) return;
    await this.journal.flush();
    // The others go on promising up to the ceilings.
    if (this.fence.exclusive) await this.sealCeilings(epoch);
  }
}
