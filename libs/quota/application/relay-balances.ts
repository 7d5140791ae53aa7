/**
 * Brings what was booked to the quota store, in order: a balance is applied only if it is the tenant's next one, an older one is ignored,
 * and a gap makes the tenant unknown so that it is read anew. The balance comes before what it took from holds: in between, money counts
 * as spent and held at once, never as neither. What holds give up and what counters gain arrive together, numbered by tenant.
 */
import type { Clock } from '#libs/kernel/index.js';
import { dropOutbox, readOutbox, type WaitingRow } from '#libs/platform/outbox/read-outbox.js';
import type { Database } from '#libs/platform/postgres/database.js';
import { BOOKED_TOPIC, toBookedBatch, type BookedPayload } from './booked-payload.js';
import type { HoldJournal } from './hold-journal.js';
import type { QuotaService } from './quota-service.js';
import type { QuotaStore } from './quota-store.js';

const BALANCE_TOPIC = 'balance.changed';
const BATCH_ROWS = 2_000;

export class RelayBalances {
  private running: Promise<number> = Promise.resolve(0);
  /** The round that begins after the running one; whoever asks meanwhile shares it. */
  private next: Promise<number> | null = null;

  constructor(
    private readonly database: Database,
    private readonly quota: QuotaService,
    private readonly store: QuotaStore,
    private readonly journal: HoldJournal,
    private readonly clock: Clock,
    /** Runs `work` while no other process relays. */
    private readonly alone: (work: () => Promise<number>) => Promise<number>,
  ) {}

  /**
   * Applies everything committed before the call, while this process may promise; returns how many rows.
   * @throws DomainError storage.unavailable
   */
  async execute(): Promise<number> {
    this.next ??= this.running
      .catch(() => 0)
      .then(async () => {
        this.next = null;
        this.running = this.applyAll();
        return await this.running;
      });
    return await this.next;
  }

  private async applyAll(): Promise<number> {
    return this.quota.mayPromise ? await this.alone(async () => await this.applyWaiting()) : 0;
  }

  private async applyWaiting(): Promise<number> {
    let applied = 0;
    for (;;) {
      const rows = await readOutbox(this.database, [BALANCE_TOPIC, BOOKED_TOPIC], BATCH_ROWS);
      const byTenant = new Map<string, WaitingRow[]>();
      for (const row of rows) byTenant.set(row.tenantId, [...(byTenant.get(row.tenantId) ?? []), row]);
      const failures: unknown[] = [];
      const done: WaitingRow[] = [];
      // A tenant's rows in order; tenants side by side, and one whose part of the store is away holds up no other.
      await Promise.all(
        [...byTenant.values()].map(async (own) => {
          try {
            for (const row of own) await this.apply(row);
            done.push(...own);
          } catch (error) {
            failures.push(error);
          }
        }),
      );
      await dropOutbox(this.database, done);
      applied += done.length;
      if (failures.length > 0) throw failures[0];
      if (rows.length < BATCH_ROWS) return applied;
    }
  }

  private async apply(row: WaitingRow): Promise<void> {
    // A load under way may have read before this was committed: it has to see it afterwards.
    while (this.quota.isLoading(row.tenantId)) await this.quota.waitForLoad(row.tenantId);
    if (row.topic === BALANCE_TOPIC) {
      const { lots_nano, receivable_nano } = row.payload as { lots_nano: string; receivable_nano: string };
      if (row.tenantSeq !== null)
        await this.store.applyBalance({ tenantId: row.tenantId, seq: row.tenantSeq, postedNano: BigInt(lots_nano) - BigInt(receivable_nano) });
      return;
    }
    const batch = toBookedBatch(row.tenantId, row.payload as unknown as BookedPayload);
    for (const hold of await this.store.applyBooked(batch, this.clock.now().getTime())) this.journal.note(hold);
  }
}
