/**
 * What a tenant's balance is measured against, kept in memory so that an ordinary batch asks nothing. It is read anew when somebody else
 * moved the tenant's money in between (the tenant's number has a gap: a refill, an adjustment, an expiry, another worker), and after an
 * hour, because "the last 30 days" move on. Only numbers are kept: forgetting them all costs one read.
 */
import { HOUR_MS, type Nano } from '#libs/kernel/index.js';
import type { Sql } from '#libs/platform/postgres/database.js';
import type { RecentCredit } from '../domain/balance-level.js';
import type { CreditHistory } from './ports.js';

/** A hundred bytes each. */
const MAX_TENANTS = 50_000;
const FRESH_MS = HOUR_MS;

interface Known {
  /** The tenant's money transactions that this process has seen. */
  readonly seq: bigint;
  readonly credit: RecentCredit;
  readonly readAtMs: number;
}

/** One tenant's movement in a batch. */
export interface BookedBalance {
  readonly tenantId: string;
  readonly seqBefore: bigint;
  readonly seqAfter: bigint;
  readonly afterNano: Nano;
}

export interface MeasuredBalance {
  readonly credit: RecentCredit;
  /** False: money moved that this process did not see, so what was there before the batch tells nothing about lines crossed meanwhile. */
  readonly seenAll: boolean;
}

export class CreditLevels {
  private readonly known = new Map<string, Known>();

  constructor(private readonly history: CreditHistory) {}

  /** What was measured last may not have been told. */
  forget(tenantIds: readonly string[]): void {
    for (const tenantId of tenantIds) this.known.delete(tenantId);
  }

  /** By tenant. Reads those that are not known well enough, in one statement of the caller's transaction. */
  async measure(tx: Sql, booked: readonly BookedBalance[], now: Date): Promise<ReadonlyMap<string, MeasuredBalance>> {
    const measured = new Map<string, MeasuredBalance>();
    const unseen: BookedBalance[] = [];
    for (const balance of booked) {
      const known = this.known.get(balance.tenantId);
      if (known === undefined || known.seq !== balance.seqBefore || now.getTime() - known.readAtMs > FRESH_MS) unseen.push(balance);
      else measured.set(balance.tenantId, { credit: known.credit, seenAll: true });
      if (known !== undefined) this.known.set(balance.tenantId, { ...known, seq: balance.seqAfter });
    }
    if (unseen.length === 0) return measured;
    const credits = await this.history.recent(
      tx,
      unseen.map((balance) => balance.tenantId),
    );
    if (this.known.size + unseen.length > MAX_TENANTS) this.known.clear();
    for (const { tenantId, seqAfter } of unseen) {
      const credit = credits.get(tenantId) ?? { grantedNano: 0n, newestLotId: null };
      this.known.set(tenantId, { seq: seqAfter, credit, readAtMs: now.getTime() });
      measured.set(tenantId, { credit, seenAll: false });
    }
    return measured;
  }
}
