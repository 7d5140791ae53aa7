import type { Sql } from '#libs/platform/postgres/database.js';
import type { RecentCredits } from './ports.js';
import { LedgerStore } from './ports.js';

/** What tenants were granted lately, inside the caller's transaction. */
export class ReadRecentCredits {
  constructor(private readonly store: LedgerStore) {}

  /** Credits since `since`, void ones left out; where there are none, the newest one of all time. A tenant without credit is absent. */
  async execute(sql: Sql, input: { readonly tenantIds: readonly string[]; readonly since: Date }): Promise<ReadonlyMap<string, RecentCredits>> {
    return await this.store.recentCredits(sql, input.tenantIds, input.since);
  }
}
