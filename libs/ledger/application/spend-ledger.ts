/**
 * Books what events cost, and takes single events back. One balanced transaction per tenant and batch, because a balance row is a lock
 * that all of a tenant's posters share; a handful of statements per call, whatever the number of tenants, because round trips decide the
 * rate. Everything happens in the caller's transaction: an event is posted with its booking or not at all.
 */
import { assert, digest128, type Nano } from '#libs/kernel/index.js';
import type { Sql } from '#libs/platform/postgres/database.js';
import { emptyBalance, type TenantBalance } from '../domain/balance.js';
import { planReversal } from '../domain/reversal-plan.js';
import { movesMoney, planSpend, totalSpend, type Interval, type SpendItem } from '../domain/spend-plan.js';
import { Journal } from './journal.js';
import { LedgerStore, type JournalEntry, type LockedTenant } from './ports.js';

export interface TenantSpend {
  readonly tenantId: string;
  /** The latest in the batch. */
  readonly occurredAt: Date;
  /** In the order in which they shall burn. */
  readonly items: readonly SpendItem[];
  /** Unique per batch and tenant. */
  readonly idemKey: string;
}

export interface SpendPosted {
  readonly tenantId: string;
  /** Null when nothing moved. */
  readonly transactionId: string | null;
  readonly tenantSeq: bigint | null;
  /** By event: its nano-USD inside the transaction's burn. */
  readonly intervals: ReadonlyMap<string, Interval>;
  readonly balance: TenantBalance;
}

export interface SpendReversal {
  readonly tenantId: string;
  readonly eventId: string;
  /** The spend transaction that booked the event. */
  readonly transactionId: string;
  /** The event's interval inside it. */
  readonly from: Nano;
  readonly to: Nano;
  readonly provider: string;
  readonly costNano: Nano;
  readonly occurredAt: Date;
  /** Unique per tenant and reversal. */
  readonly idemKey: string;
}

export interface SpendReversed {
  readonly eventId: string;
  /** Null when nothing moved. */
  readonly transactionId: string | null;
  readonly balance: TenantBalance;
}

export class SpendLedger {
  constructor(private readonly store: LedgerStore) {}

  /**
   * Posts batches of different tenants; answers come in the order asked.
   * @throws DomainError ledger.already_booked when an idemKey was used before; nothing of the call is then written
   * @throws InvariantError for a tenant named twice, a negative figure, or a batch beyond 9e15 nano-USD
   */
  async post(tx: Sql, spends: readonly TenantSpend[], actor: string): Promise<SpendPosted[]> {
    assert(new Set(spends.map((spend) => spend.tenantId)).size === spends.length, 'one batch per tenant and call');
    const batches = spends.map((spend) => ({ ...spend, totals: totalSpend(spend.items) }));
    const moving = batches.filter((batch) => movesMoney(batch.totals));
    const locked = await this.store.lockTenants(tx, tenantsOf(moving));
    const lots = await this.store.openLots(tx, tenantsOf(moving.filter((batch) => batch.totals.chargeNano > 0n)));

    const journal = new Journal(locked);
    const booked = new Map<string, JournalEntry>();
    for (const { tenantId, totals, ...batch } of moving) {
      const entry = journal.add({
        tenantId,
        kind: 'spend',
        idemScope: 'spend',
        idemKey: batch.idemKey,
        requestHash: hashOfItems(batch.items),
        occurredAt: batch.occurredAt,
        actor,
        transfers: planSpend(totals, lots.get(tenantId) ?? [], journal.tenant(tenantId).bookedAt),
      });
      booked.set(tenantId, entry);
    }
    await this.store.append(tx, journal.entries);

    const balances = await this.balancesAfter(tx, journal, locked, spends);
    return batches.map(({ tenantId, totals }) => {
      const entry = booked.get(tenantId);
      return {
        tenantId,
        transactionId: entry?.transactionId ?? null,
        tenantSeq: entry?.tenantSeq ?? null,
        intervals: totals.intervals,
        balance: balances(tenantId),
      };
    });
  }

  /**
   * Takes events back out of the transactions that booked them, each in a transaction of its own; answers come in the order asked.
   * Exact whatever happened since: a lot that is meanwhile expired or void gets its slice back and is closed again by ExpireLots.
   * @throws DomainError ledger.already_booked when an idemKey was used before or the event was already taken out of that transaction
   * @throws InvariantError when interval or cost do not lie inside the transaction, or it is another tenant's
   */
  async reverse(tx: Sql, reversals: readonly SpendReversal[], actor: string): Promise<SpendReversed[]> {
    const moving = reversals.filter((reversal) => reversal.to > reversal.from || reversal.costNano > 0n);
    const locked = await this.store.lockTenants(tx, tenantsOf(moving));
    const recorded = await this.store.recorded(tx, [...new Set(moving.map((reversal) => reversal.transactionId))]);

    const journal = new Journal(locked);
    const booked = new Map<SpendReversal, JournalEntry>();
    for (const reversal of moving) {
      const origin = recorded.get(reversal.transactionId);
      assert(origin?.tenantId === reversal.tenantId, `transaction ${reversal.transactionId} is not one of tenant ${reversal.tenantId}`);
      const entry = journal.add({
        tenantId: reversal.tenantId,
        kind: 'reversal',
        idemScope: 'reversal',
        idemKey: reversal.idemKey,
        requestHash: digest128(
          reversal.transactionId,
          reversal.eventId,
          String(reversal.from),
          String(reversal.to),
          reversal.provider,
          String(reversal.costNano),
        ),
        occurredAt: reversal.occurredAt,
        corrects: reversal.transactionId,
        reference: reversal.eventId,
        actor,
        transfers: planReversal(origin.transfers, reversal, reversal.provider, reversal.costNano),
      });
      booked.set(reversal, entry);
    }
    await this.store.append(tx, journal.entries);

    const balances = await this.balancesAfter(tx, journal, locked, reversals);
    return reversals.map((reversal) => ({
      eventId: reversal.eventId,
      transactionId: booked.get(reversal)?.transactionId ?? null,
      balance: booked.get(reversal)?.after ?? balances(reversal.tenantId),
    }));
  }

  /** Tenants whose money moved are known from the journal; the others are read. */
  private async balancesAfter(
    tx: Sql,
    journal: Journal,
    locked: ReadonlyMap<string, LockedTenant>,
    asked: readonly { readonly tenantId: string }[],
  ): Promise<(tenantId: string) => TenantBalance> {
    const resting = await this.store.balances(tx, tenantsOf(asked.filter(({ tenantId }) => !locked.has(tenantId))));
    return (tenantId) => (locked.has(tenantId) ? journal.balance(tenantId) : (resting.get(tenantId) ?? emptyBalance(tenantId)));
  }
}

function tenantsOf(items: readonly { readonly tenantId: string }[]): string[] {
  return [...new Set(items.map((item) => item.tenantId))];
}

function hashOfItems(items: readonly SpendItem[]): Buffer {
  let text = '';
  for (const item of items) text += `${item.eventId} ${item.costNano} ${item.chargeNano} ${item.provider.length}:${item.provider}\n`;
  return digest128(text);
}
