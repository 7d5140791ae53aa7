import type { Nano } from '#libs/kernel/index.js';
import { ReadWallets } from '#libs/ledger/index.js';
import type { Sql } from '#libs/platform/postgres/database.js';
import { FundingSource } from '#libs/quota/index.js';

/** Quota promises from what the ledger says a tenant has. */
export class LedgerFunding extends FundingSource {
  constructor(private readonly readWallets: ReadWallets) {
    super();
  }

  override async wallets(sql: Sql, tenantIds: readonly string[]): Promise<ReadonlyMap<string, { readonly seq: bigint; readonly postedNano: Nano }>> {
    return await this.readWallets.execute(sql, tenantIds);
  }
}
