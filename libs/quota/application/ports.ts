import type { Nano } from '#libs/kernel/index.js';
import type { Sql } from '#libs/platform/postgres/database.js';

/** Where a tenant's money stands; apps wire it to the ledger. */
export abstract class FundingSource {
  /** Balances inside the caller's snapshot; a tenant without any booking is absent and stands at zero, seq 0. */
  abstract wallets(sql: Sql, tenantIds: readonly string[]): Promise<ReadonlyMap<string, { readonly seq: bigint; readonly postedNano: Nano }>>;
}

/** What the process may promise with: the epoch it took together with the process lock, or that of the shared store's server. */
export abstract class QuotaFence {
  /** Whether one process alone works on the database: its postings then carry the epoch, and a stale one's are refused. */
  abstract readonly exclusive: boolean;
  /** The epoch, or null while the right to promise is not proven at this very moment. Of a tenant's server, or of any that is there. */
  abstract current(tenantId?: string): bigint | null;
  /** Tells when the right was lost: what was known by it is worth nothing from then on. */
  abstract onLost(listener: () => void): void;
}

/** Of a process that shares its database with others and has no shared store to promise from: it never promises. */
export class NoFence extends QuotaFence {
  override readonly exclusive = false;

  override current(): bigint | null {
    return null;
  }

  override onLost(): void {}
}
