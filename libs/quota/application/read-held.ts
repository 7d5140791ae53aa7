import { DAY_MS, DomainError, type Clock, type Nano } from '#libs/kernel/index.js';
import type { HoldReader } from './hold-reader.js';
import type { QuotaService } from './quota-service.js';

/** Later than this no event is admitted that could still tell how a call ended. */
const LATE_EVENT_MS = 35 * DAY_MS;

export interface HeldView {
  /** What open holds keep: calls in flight, and calls that ran out and are not charged yet. */
  readonly heldNano: Nano;
  /** What was promised to calls of the last 35 days that ran out and of which nobody has said how they ended. Charged by policy or given back. */
  readonly unresolvedNano: Nano;
}

/** What holds take off a tenant's balance. */
export class ReadHeld {
  constructor(
    private readonly quota: QuotaService,
    private readonly reader: HoldReader,
    private readonly clock: Clock,
  ) {}

  /** @throws DomainError storage.unavailable */
  async execute(tenantId: string): Promise<HeldView> {
    const since = new Date(this.clock.now().getTime() - LATE_EVENT_MS);
    return { heldNano: await this.heldNano(tenantId), unresolvedNano: await this.reader.unresolvedNano(tenantId, since) };
  }

  /** From the store that promises; from the rows where this process may not promise. */
  private async heldNano(tenantId: string): Promise<Nano> {
    try {
      for (let tries = 0; tries < 2; tries += 1) {
        this.quota.assertMayPromise();
        const wallet = await this.quota.store.wallet(tenantId);
        if (wallet !== 'unknown') return wallet.heldNano;
        if (!(await this.reader.hasHeld(tenantId))) return 0n;
        await this.quota.load(tenantId);
      }
    } catch (error) {
      if (!(error instanceof DomainError) || error.kind !== 'unavailable') throw error;
    }
    return await this.reader.heldNano(tenantId);
  }
}
