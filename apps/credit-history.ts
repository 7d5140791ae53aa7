import { CreditHistory, type RecentCredit } from '#libs/alerting/index.js';
import { DAY_MS, type Clock } from '#libs/kernel/index.js';
import type { ReadRecentCredits } from '#libs/ledger/index.js';
import type { Sql } from '#libs/platform/postgres/database.js';

const RECENT_MS = 30 * DAY_MS;
const NO_CREDIT: RecentCredit = { grantedNano: 0n, newestLotId: null };

/** Alerting measures balances against what the ledger granted in the last 30 days. */
export class LedgerCreditHistory extends CreditHistory {
  constructor(
    private readonly readRecentCredits: ReadRecentCredits,
    private readonly clock: Clock,
  ) {
    super();
  }

  override async recent(sql: Sql, tenantIds: readonly string[]): Promise<ReadonlyMap<string, RecentCredit>> {
    const credits = await this.readRecentCredits.execute(sql, { tenantIds, since: new Date(this.clock.now().getTime() - RECENT_MS) });
    return new Map(tenantIds.map((tenantId) => [tenantId, credits.get(tenantId) ?? NO_CREDIT]));
  }
}
