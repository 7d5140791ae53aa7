import type { Sql } from '#libs/platform/postgres/database.js';
import type { PostedSpend } from './read-posted-spend.js';

/** What stands booked of one event, and when its call was booked first: by this event or by the one it corrects. */
export type PastSpend = PostedSpend & { readonly bookedAt: Date };

/** Pages of one history, each after the one before; an empty one ends it. */
export type SpendPages = () => Promise<readonly PastSpend[]>;

/** A tenant's booked events in the order in which they occurred, for whoever plays the past again. */
export abstract class SpendHistory {
  /**
   * Events that occurred in [from, to) and stand booked, as the caller's snapshot has them. At most `atMost`, read `pageSize` at a time: the caller
   * never holds more than a page. @param tx a transaction of the caller's that lasts until he has read what he wants
   */
  abstract open(tx: Sql, input: { tenantId: string; from: Date; to: Date; atMost: number; pageSize: number }): Promise<SpendPages>;
}
