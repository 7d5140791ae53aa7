/**
 * Ends holds whose time ran out. They become `unresolved`, never silently free: by policy their input, their estimate or the whole hold
 * is charged provisionally, and a late event corrects that. Holds of tenants that nobody asked for since the start are found in PostgreSQL.
 */
import { MINUTE_MS, type Clock } from '#libs/kernel/index.js';
import { isUncharged, type Hold } from '../domain/hold.js';
import type { HoldJournal } from './hold-journal.js';
import type { HoldEvents } from './hold-events.js';
import type { QuotaService } from './quota-service.js';
import type { QuotaStore } from './quota-store.js';

const BATCH = 500;
/** A late event and the end of its hold miss each other within milliseconds; five minutes outlast a restart. */
const MISSED_WITHIN_MS = 5 * MINUTE_MS;

/** What no process watches, as PostgreSQL tells it. */
export interface ForgottenHolds {
  readonly tenantsToSweep: (now: Date, limit: number) => Promise<string[]>;
  readonly settleMissed: (since: Date) => Promise<number>;
}

export class SweepHolds {
  private readonly uncharged = new Map<string, Hold>();

  constructor(
    private readonly quota: QuotaService,
    private readonly store: QuotaStore,
    private readonly journal: HoldJournal,
    private readonly events: HoldEvents,
    private readonly forgotten: ForgottenHolds,
    private readonly clock: Clock,
  ) {
    quota.onLoad((holds) => this.takeUp(holds));
  }

  /** Ends what is due in the store and charges what its policy says; nothing while the process may not promise. Returns how many holds ended. */
  async execute(): Promise<number> {
    if (!this.quota.mayPromise) return 0;
    let ended = 0;
    for (;;) {
      const due = await this.store.expire(this.clock.now().getTime(), BATCH);
      for (const hold of due) this.journal.note(hold);
      this.takeUp(due);
      ended += due.length;
      if (due.length < BATCH) break;
    }
    if (ended > 0) await this.journal.flush();
    await this.charge();
    return ended;
  }

  /** Loads tenants whose holds ran out while no process watched; the next {@link execute} ends or charges them. */
  async findForgotten(): Promise<void> {
    if (!this.quota.mayPromise) return;
    const now = this.clock.now();
    await this.forgotten.settleMissed(new Date(now.getTime() - MISSED_WITHIN_MS));
    for (const tenantId of await this.forgotten.tenantsToSweep(now, BATCH)) {
      if ((await this.store.wallet(tenantId)) === 'unknown') await this.quota.load(tenantId);
      // Another process loaded it, and may be gone.
      else if (this.quota.isShared) this.takeUp(await this.quota.readHolds(tenantId));
    }
  }

  /** Also those that come with a load: a crash prevented their charge. */
  private takeUp(holds: readonly Hold[]): void {
    for (const hold of holds) if (isUncharged(hold)) this.uncharged.set(hold.holdId, hold);
  }

  private async charge(): Promise<void> {
    if (this.uncharged.size === 0) return;
    const holds = [...this.uncharged.values()].slice(0, BATCH);
    // First the state, then the charge: after a crash in between, the load finds an unresolved hold without its charge and takes it up.
    await this.journal.flush();
    await this.events.chargeUnresolved(holds);
    for (const hold of holds) this.uncharged.delete(hold.holdId);
  }
}
