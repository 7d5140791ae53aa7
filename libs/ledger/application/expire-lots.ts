/**
 * Closes lots that ran out of time, and lots that were closed before but got money back from a reversal. Safe to run at any time, any
 * number of times and in several processes: each lot is looked at again under its tenant's lock, and whether it is expired is decided by
 * the booking time, not by the caller's clock.
 */
import { Clock } from '#libs/kernel/index.js';
import { Database, type Sql } from '#libs/platform/postgres/database.js';
import { planClosing } from '../domain/lot-plan.js';
import { Journal } from './journal.js';
import { LedgerStore } from './ports.js';

/** Small enough that the tenants of one round are locked for milliseconds. */
const LOTS_PER_ROUND = 200;
const ACTOR = 'system:expire-lots';

export class ExpireLots {
  constructor(
    private readonly database: Database,
    private readonly store: LedgerStore,
    private readonly clock: Clock,
  ) {}

  /** Returns how many lots were closed. */
  async execute(): Promise<{ closed: number }> {
    let closed = 0;
    for (;;) {
      const round = await this.database.transaction((tx) => this.closeRound(tx));
      closed += round;
      if (round < LOTS_PER_ROUND) return { closed };
    }
  }

  private async closeRound(tx: Sql): Promise<number> {
    const overdue = await this.store.overdueLots(tx, this.clock.now(), LOTS_PER_ROUND);
    if (overdue.length === 0) return 0;
    const locked = await this.store.lockTenants(tx, [...new Set(overdue.map((lot) => lot.tenantId))]);
    const journal = new Journal(locked);
    for (const lot of await this.store.findLots(
      tx,
      overdue.map((candidate) => candidate.lotId),
    )) {
      const { bookedAt, seq } = journal.tenant(lot.tenantId);
      const closing = planClosing(lot, bookedAt);
      if (closing === null) continue;
      journal.add({
        tenantId: lot.tenantId,
        kind: closing.kind,
        idemScope: 'closing',
        // With the tenant's number: a lot may be closed again after a reversal put money back.
        idemKey: `${lot.lotId}:${seq}`,
        requestHash: Buffer.alloc(0),
        actor: ACTOR,
        reference: lot.lotId,
        transfers: [closing.transfer],
      });
    }
    await this.store.append(tx, journal.entries);
    return journal.entries.length;
  }
}
