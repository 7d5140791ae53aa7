import type { Nano } from '#libs/kernel/index.js';
import type { Sql } from '#libs/platform/postgres/database.js';
import type { RatedLine } from '#libs/pricing/index.js';
import type { PostableEvent } from '../domain/stored-event.js';

/** An event to post and whether it comes out of quarantine, so that its revision may not be the first. */
export interface PendingEvent extends PostableEvent {
  readonly quarantined: boolean;
}

export interface PostingRow {
  readonly eventId: string;
  readonly revision: number;
  readonly state: 'posted' | 'quarantined' | 'reversed';
  readonly tenantId: string;
  readonly transactionId: string | null;
  readonly costNano: Nano;
  readonly chargeNano: Nano;
  readonly lines: readonly RatedLine[];
  readonly priceVersion: string | null;
  readonly interval: { readonly from: Nano; readonly to: Nano } | null;
  readonly reason: string | null;
  readonly postedAt: Date;
  readonly provider: string;
  readonly model: string;
}

export interface LastPosting {
  readonly revision: number;
  readonly state: PostingRow['state'];
  readonly transactionId: string | null;
  readonly costNano: Nano;
  readonly chargeNano: Nano;
  readonly interval: { readonly from: Nano; readonly to: Nano } | null;
  readonly provider: string;
  readonly model: string;
  /** Of a posted one: why it is only provisional. */
  readonly reason: string | null;
}

/** The poster's tables: a shard's work list, what was booked before, what is booked now. Every method runs in the caller's transaction. */
export abstract class PostingStore {
  /** Waits until no other process posts this shard; held until the transaction ends. */
  abstract lockShard(tx: Sql, shard: number): Promise<void>;
  /** Takes the oldest `limit` events of a shard, or those of `only`, off the work list; answers them in order of arrival. */
  abstract takePending(tx: Sql, shard: number, limit: number, only: readonly string[] | null): Promise<PendingEvent[]>;
  /** Back on the work list: their turn has not come. */
  abstract putBack(tx: Sql, shard: number, events: readonly PendingEvent[]): Promise<void>;
  /** The newest posting of each event, by event id; an event without one is absent. */
  abstract readLastPostings(tx: Sql, eventIds: readonly string[]): Promise<Map<string, LastPosting>>;
  /** Events by id, for the corrections that take their bookings back. */
  abstract readEvents(tx: Sql, eventIds: readonly string[]): Promise<Map<string, PostableEvent>>;
  /** Which of `eventIds` still wait in the shard's work list. */
  abstract stillPending(tx: Sql, shard: number, eventIds: readonly string[]): Promise<Set<string>>;
  abstract insertPostings(tx: Sql, rows: readonly PostingRow[]): Promise<void>;
  /** Sets events aside, or changes why they are. */
  abstract openQuarantine(tx: Sql, entries: readonly { event: PostableEvent; reason: string }[], since: Date): Promise<void>;
  abstract closeQuarantine(tx: Sql, eventIds: readonly string[]): Promise<void>;
}
