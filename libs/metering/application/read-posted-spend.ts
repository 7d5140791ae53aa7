import type { Sql } from '#libs/platform/postgres/database.js';
import type { SpendMovement } from './ports.js';

/** What stands booked of one event: as it was told to the participants of its posting. */
export type PostedSpend = Omit<SpendMovement, 'sign' | 'tenantSeq'>;

/** Booked events of a tenant, for a context that begins to count them later than they were booked. */
export abstract class PostedSpendReader {
  /**
   * Up to `limit` events received since `receivedFrom` that stand booked, after the event `after`, in order of receipt; in the caller's
   * snapshot. `last`: where the next page goes on; null at the end.
   */
  abstract page(
    sql: Sql,
    input: { tenantId: string; receivedFrom: Date; after: string | null; limit: number },
  ): Promise<{ readonly events: readonly PostedSpend[]; readonly last: string | null }>;
}
