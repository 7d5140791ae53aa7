import type { Nano } from '#libs/kernel/index.js';
import type { Sql } from '#libs/platform/postgres/database.js';
import type { TenantBalance } from '../domain/balance.js';
import type { Lot } from '../domain/lot.js';
import type { BalanceChange, Transfer } from '../domain/transfer.js';

export type TransactionKind = 'spend' | 'reversal' | 'grant' | 'void' | 'adjustment' | 'expiry' | 'collection';

/** A tenant whose balance row this transaction holds: nobody else moves its money until commit. */
export interface LockedTenant extends TenantBalance {
  /** The booking time of everything posted under this lock: the database's clock, never before the tenant's last one. Whole milliseconds. */
  readonly bookedAt: Date;
}

/** One transaction ready to be written. */
export interface JournalEntry {
  readonly transactionId: string;
  readonly tenantId: string;
  readonly tenantSeq: bigint;
  readonly kind: TransactionKind;
  /** (tenant, scope, key) names at most one transaction, for ever. */
  readonly idemScope: string;
  readonly idemKey: string;
  readonly requestHash: Buffer;
  readonly occurredAt: Date;
  readonly bookedAt: Date;
  /** The transaction that a reversal takes from; its `reference` is then the event. */
  readonly corrects: string | null;
  readonly actor: string;
  readonly reason: string | null;
  readonly reference: string | null;
  readonly transfers: readonly Transfer[];
  readonly change: BalanceChange;
  /** The tenant's balance after this transaction. */
  readonly after: TenantBalance;
}

export interface RecordedTransaction {
  readonly tenantId: string;
  readonly transfers: readonly Transfer[];
}

export interface StoredAnswer {
  readonly requestHash: Buffer;
  readonly response: string;
}

/** A tenant's credit of late. */
export interface RecentCredits {
  readonly grantedNano: Nano;
  readonly newestLotId: string;
}

/** Writes and locks; every method works in the caller's transaction. */
export abstract class LedgerStore {
  /** Locks the tenants' balance rows in tenant order (so that two callers never deadlock), making those that are missing. */
  abstract lockTenants(tx: Sql, tenantIds: readonly string[]): Promise<ReadonlyMap<string, LockedTenant>>;
  /** Balances as committed, without a lock; tenants without money are missing. */
  abstract balances(sql: Sql, tenantIds: readonly string[]): Promise<ReadonlyMap<string, TenantBalance>>;
  /** Lots with something left that were not voided, expired ones included. */
  abstract openLots(tx: Sql, tenantIds: readonly string[]): Promise<ReadonlyMap<string, Lot[]>>;
  /** Credits granted since `since` that are not void, else the newest one; tenants without credit are missing. */
  abstract recentCredits(sql: Sql, tenantIds: readonly string[], since: Date): Promise<ReadonlyMap<string, RecentCredits>>;
  abstract findLots(sql: Sql, lotIds: readonly string[]): Promise<Lot[]>;
  /** Makes an empty lot and its account; the transfer that fills it follows with `append`. */
  abstract openLot(tx: Sql, lot: Lot): Promise<void>;
  abstract markVoided(tx: Sql, lotId: string, at: Date): Promise<void>;
  /** Lots with something left that were voided or expired, both by `at` and by the time a booking would get now; the longest overdue first. */
  abstract overdueLots(sql: Sql, at: Date, limit: number): Promise<Lot[]>;
  abstract recorded(sql: Sql, transactionIds: readonly string[]): Promise<ReadonlyMap<string, RecordedTransaction>>;
  /**
   * Writes transactions, transfers, the cached balances they change, and one `balance.changed` outbox row each. Tenants must be locked.
   * @throws DomainError ledger.already_booked (conflict) when an idempotency key or the reversal of an event exists already
   */
  abstract append(tx: Sql, entries: readonly JournalEntry[]): Promise<void>;
  abstract findAnswer(tx: Sql, tenantId: string, scope: string, key: string): Promise<StoredAnswer | null>;
  abstract saveAnswer(tx: Sql, tenantId: string, scope: string, key: string, answer: StoredAnswer, at: Date): Promise<void>;
}

/** A transaction as booked, for display. */
export interface BookedTransaction {
  readonly transactionId: string;
  readonly tenantSeq: bigint;
  readonly kind: TransactionKind;
  readonly occurredAt: Date;
  readonly bookedAt: Date;
  readonly corrects: string | null;
  readonly actor: string;
  readonly reason: string | null;
  readonly reference: string | null;
  readonly transfers: readonly Transfer[];
}

export interface EntryFilter {
  readonly tenantId: string;
  /** Booked at or after. */
  readonly from: Date | null;
  /** Booked before. */
  readonly to: Date | null;
  /** Transactions numbered above this one only. */
  readonly afterSeq: bigint | null;
  readonly limit: number;
}

/** One cached or recorded figure that the transfers contradict. */
export interface LedgerDrift {
  readonly tenantId: string;
  /** An account code, `transaction:<uuid>`, or `tenant` for the tenant's own row. */
  readonly account: string;
  readonly field: DriftField;
  /** What the transfers say. Nano-USD, except for `seq` and `transfers`, which are counts. */
  readonly expected: Nano;
  /** What the row says. */
  readonly found: Nano;
}

export type DriftField = 'debits' | 'credits' | 'remaining' | 'lots' | 'receivable' | 'seq' | 'transfers';

export interface LedgerCheck {
  /** Accounts recomputed. */
  readonly accounts: number;
  readonly drift: readonly LedgerDrift[];
}

/** Reads of what was committed; each answer comes from one snapshot. */
export abstract class LedgerReader {
  /** The tenant's balance, its lots with something left, and when it was last booked (null: never). */
  abstract balance(tenantId: string): Promise<{ balance: TenantBalance; lots: Lot[]; bookedAt: Date | null }>;
  /** In booking order. */
  abstract entries(filter: EntryFilter): Promise<BookedTransaction[]>;
  /** Recomputes everything cached from the transfers, of all tenants, and names what disagrees (the first 1,000 rows). */
  abstract check(): Promise<LedgerCheck>;
}
