import type { Nano } from '#libs/kernel/index.js';
import type { Sql } from '#libs/platform/postgres/database.js';
import type { LedgerStore } from './ports.js';

/** Where tenants' money stands, inside a snapshot the caller opened. */
export class ReadWallets {
  constructor(private readonly store: LedgerStore) {}

  /** Posted = lots minus receivable. A tenant without any booking is absent. */
  async execute(sql: Sql, tenantIds: readonly string[]): Promise<ReadonlyMap<string, { readonly seq: bigint; readonly postedNano: Nano }>> {
    const balances = await this.store.balances(sql, tenantIds);
    return new Map([...balances].map(([tenantId, balance]) => [tenantId, { seq: balance.seq, postedNano: balance.lotsNano - balance.receivableNano }]));
  }
}
