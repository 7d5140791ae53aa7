/**
 * Collects the transactions that one call books for tenants it has locked: numbers them without gaps, in the order added, and carries each
 * tenant's balance along. Nothing is written before `entries` goes to the store, so a call that fails has moved nothing.
 */
import { assert, newUuid } from '#libs/kernel/index.js';
import type { TenantBalance } from '../domain/balance.js';
import { balanceChange, type Transfer } from '../domain/transfer.js';
import type { JournalEntry, LockedTenant, TransactionKind } from './ports.js';

export interface EntryDraft {
  readonly tenantId: string;
  readonly kind: TransactionKind;
  readonly idemScope: string;
  /** Null where nobody can repeat the request: the transaction's own id serves. */
  readonly idemKey: string | null;
  readonly requestHash: Buffer;
  /** Null: it happened when it was booked. */
  readonly occurredAt?: Date | null;
  readonly corrects?: string | null;
  readonly actor: string;
  readonly reason?: string | null;
  readonly reference?: string | null;
  /** At least one. */
  readonly transfers: readonly Transfer[];
}

export class Journal {
  readonly entries: JournalEntry[] = [];
  private readonly running: Map<string, LockedTenant>;

  constructor(locked: ReadonlyMap<string, LockedTenant>) {
    this.running = new Map(locked);
  }

  tenant(tenantId: string): LockedTenant {
    const tenant = this.running.get(tenantId);
    assert(tenant !== undefined, `tenant ${tenantId} is not locked`);
    return tenant;
  }

  balance(tenantId: string): TenantBalance {
    const { seq, lotsNano, receivableNano } = this.tenant(tenantId);
    return { tenantId, seq, lotsNano, receivableNano };
  }

  add(draft: EntryDraft): JournalEntry {
    assert(draft.transfers.length > 0, 'a transaction moves something');
    const tenant = this.tenant(draft.tenantId);
    const change = balanceChange(draft.transfers);
    const moved: LockedTenant = {
      ...tenant,
      seq: tenant.seq + 1n,
      lotsNano: tenant.lotsNano + change.lotsNano,
      receivableNano: tenant.receivableNano + change.receivableNano,
    };
    this.running.set(draft.tenantId, moved);
    const transactionId = newUuid(tenant.bookedAt);
    const entry: JournalEntry = {
      transactionId,
      tenantId: draft.tenantId,
      tenantSeq: moved.seq,
      kind: draft.kind,
      idemScope: draft.idemScope,
      idemKey: draft.idemKey ?? transactionId,
      requestHash: draft.requestHash,
      occurredAt: draft.occurredAt ?? tenant.bookedAt,
      bookedAt: tenant.bookedAt,
      corrects: draft.corrects ?? null,
      actor: draft.actor,
      reason: draft.reason ?? null,
      reference: draft.reference ?? null,
      transfers: draft.transfers,
      change,
      after: this.balance(draft.tenantId),
    };
    this.entries.push(entry);
    return entry;
  }
}
