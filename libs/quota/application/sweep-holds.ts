/**
 * Ends holds whose time ran out. They become `unresolved`, never silently free: by policy their input, their estimate or the whole hold
 * is charged provisionally, and a late event corrects that. Holds of tenants that nobody asked for since the start are found in PostgreSQL.
 * A hold whose charge would be a second one of its call, because another report of that call came first, is ended when that report's own
 * booking had its time to do so: no money stays held for ever (H9). Where processes share the store, any of them finishes what a dead one left
 * between two steps: a hold nobody lists for the sweep, one that ended without its row saying so, one that the store does not have.
 */
import { MINUTE_MS, SECOND_MS, type Clock } from '#libs/kernel/index.js';
import { isUncharged, type Ending, type Hold } from '../domain/hold.js';
import type { HoldJournal } from './hold-journal.js';
import type { ChargeOutcome, HoldEvents } from './hold-events.js';
import type { QuotaService } from './quota-service.js';
import type { QuotaStore } from './quota-store.js';

const BATCH = 500;
/** A late event and the end of its hold miss each other within milliseconds; five minutes outlast a restart. */
const MISSED_WITHIN_MS = 5 * MINUTE_MS;

/** Longer than an acknowledged report waits to be booked, and with it to end its hold. */
const BOOKED_WITHIN_MS = 5 * MINUTE_MS;

/** Past its end for so long, a hold has been ended in the shared store by whoever sweeps, unless nobody knows that it is due. */
const SWEPT_WITHIN_MS = 2 * SECOND_MS;
/** A living process writes what it ended in a fraction of this. */
const WRITTEN_WITHIN_MS = 10 * SECOND_MS;

/** What no process watches, as PostgreSQL tells it. */
export interface ForgottenHolds {
  readonly tenantsToSweep: (now: Date, limit: number) => Promise<string[]>;
  readonly settleMissed: (since: Date) => Promise<number>;
}

export class SweepHolds {
  private readonly uncharged = new Map<string, Hold>();
  /** Holds that no charge of their own will end, and how they end if nothing else does. */
  private readonly chargeless = new Map<string, { readonly hold: Hold; readonly ending: Ending; readonly sinceMs: number }>();

  /** Of a tenant, a hold that its rows have and the shared store has not. */
  private readonly missing = new Map<string, { readonly holdId: string; readonly sinceMs: number }>();

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
    await this.endChargeless(now.getTime());
    await this.forgotten.settleMissed(new Date(now.getTime() - MISSED_WITHIN_MS));
    const tenantIds = await this.forgotten.tenantsToSweep(now, BATCH);
    for (const tenantId of this.missing.keys()) if (!tenantIds.includes(tenantId)) this.missing.delete(tenantId);
    for (const tenantId of tenantIds) {
      if ((await this.store.wallet(tenantId)) === 'unknown') await this.quota.load(tenantId);
      // Another process loaded it, and may be gone.
      else if (this.quota.isShared) await this.finishOthers(tenantId, now.getTime());
    }
  }

  /** What another process began and did not finish, as its rows and the shared store tell it. */
  private async finishOthers(tenantId: string, nowMs: number): Promise<void> {
    await this.store.sweepSoon(tenantId, nowMs);
    const rows = await this.quota.readHolds(tenantId);
    this.takeUp(rows);
    const due = rows.filter((hold) => hold.state === 'active' && hold.expiresAtMs < nowMs - SWEPT_WITHIN_MS).slice(0, BATCH);
    const missing: string[] = [];
    for (const { holdId } of due) {
      const found = await this.store.locate(holdId, tenantId);
      if (found === null) missing.push(holdId);
      else if (found.state !== 'active') {
        // Ended by a process that died before it wrote so.
        this.journal.note(found);
        this.takeUp([found]);
      }
    }
    await this.loadWithMissing(tenantId, missing, nowMs);
  }

  /** Rows say a hold is open that the store does not have, and no living process is about to write its end: the rows are the truth. */
  private async loadWithMissing(tenantId: string, holdIds: readonly string[], nowMs: number): Promise<void> {
    const before = this.missing.get(tenantId);
    if (holdIds.length === 0) this.missing.delete(tenantId);
    else if (before === undefined || !holdIds.includes(before.holdId)) this.missing.set(tenantId, { holdId: holdIds[0] ?? '', sinceMs: nowMs });
    else if (nowMs - before.sinceMs >= WRITTEN_WITHIN_MS) {
      this.missing.delete(tenantId);
      await this.store.forget(tenantId);
      await this.quota.load(tenantId);
    }
  }

  /** Also those that come with a load: a crash prevented their charge. */
  private takeUp(holds: readonly Hold[]): void {
    for (const hold of holds) if (isUncharged(hold)) this.uncharged.set(hold.holdId, hold);
  }

  private async charge(): Promise<void> {
    const taken = [...this.uncharged.values()].slice(0, BATCH);
    if (taken.length === 0) return;
    // As they are by now: one may have been settled, released or partly paid since it ran out and an earlier try failed. With its tenant,
    // because a shared store does not find what another process gave out, maybe one that is gone, by its id alone.
    const current = await Promise.all(taken.map(async ({ holdId, tenantId }) => await this.store.locate(holdId, tenantId)));
    const holds = current.filter((hold): hold is Hold => hold !== null && isUncharged(hold));
    if (holds.length > 0) {
      // First the state, then the charge: after a crash in between, the load finds an unresolved hold without its charge and takes it up.
      await this.journal.flush();
      const outcomes = await this.events.chargeUnresolved(holds);
      holds.forEach((hold, index) => {
        const ending = endingWithoutCharge(outcomes[index]);
        if (ending !== null) this.chargeless.set(hold.holdId, { hold, ending, sinceMs: this.clock.now().getTime() });
      });
    }
    for (const { holdId } of taken) this.uncharged.delete(holdId);
  }

  private async endChargeless(nowMs: number): Promise<void> {
    const due = [...this.chargeless.values()].filter(({ sinceMs }) => nowMs - sinceMs >= BOOKED_WITHIN_MS);
    // What was booked and not told yet must count as spent before the hold's money is free: read anew, both come at once.
    for (const tenantId of new Set(due.map(({ hold }) => hold.tenantId))) {
      await this.store.forget(tenantId);
      await this.quota.load(tenantId);
    }
    for (const { hold, ending } of due) {
      this.chargeless.delete(hold.holdId);
      const result = await this.store.end({ tenantId: hold.tenantId, holdId: hold.holdId, ending, nowMs });
      if (result.kind === 'ended') this.journal.note(result.hold);
    }
    if (due.length > 0) await this.journal.flush();
  }
}

/** How a hold ends whose policy's charge will not be booked; null when it will. */
function endingWithoutCharge(outcome: ChargeOutcome | undefined): Ending | null {
  if (outcome === 'known') return { to: 'settled', resolution: 'reported_before' };
  return outcome === 'refused' ? { to: 'released', resolution: 'not_chargeable' } : null;
}
