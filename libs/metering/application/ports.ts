import type { Nano } from '#libs/kernel/index.js';
import type { TenantBalance } from '#libs/ledger/index.js';
import type { Sql } from '#libs/platform/postgres/database.js';
import type { Usage } from '#libs/pricing/index.js';
import type { SpendStatus } from '../domain/spend-event.js';

/** One booked change of a tenant's spend: +1 for a posting, -1 for a reversal (figures are those of the posting it takes back). */
export interface SpendMovement {
  readonly eventId: string;
  readonly tenantId: string;
  readonly sign: 1 | -1;
  readonly occurredAt: Date;
  readonly status: SpendStatus;
  readonly provider: string;
  readonly model: string;
  readonly environment: string;
  readonly feature: string | null;
  readonly userId: string | null;
  readonly assistantId: string | null;
  readonly threadId: string | null;
  readonly apiKeyId: string | null;
  readonly requestId: string | null;
  readonly tags: Readonly<Record<string, string>> | null;
  readonly sourceId: string;
  readonly requestedModel: string | null;
  readonly callId: string | null;
  /** uuid */
  readonly holdId: string | null;
  /** Whether the event tells how its call ended. */
  readonly endsCall: boolean;
  /** The charge of a hold whose call nobody reported: it stands until somebody does. */
  readonly provisional: boolean;
  /** Whether it was booked provisionally before and is now rated: that charge is taken back and the exact one made. */
  readonly rerated: boolean;
  /** The money transaction it belongs to; null when nothing moved. */
  readonly tenantSeq: bigint | null;
  readonly usage: Usage | null;
  readonly costNano: Nano;
  readonly chargeNano: Nano;
}

/** A call whose event has no price. */
export interface UnpricedCall {
  readonly eventId: string;
  readonly tenantId: string;
  /** uuid; as the sender named it, so it may be another tenant's or nobody's. */
  readonly holdId: string | null;
  readonly callId: string | null;
  /** The event whose booking this one takes back: what that took from the hold is given back first. */
  readonly correctsEventId: string | null;
}

/** What was held for calls before they were made; the context that makes holds answers it. */
export abstract class HeldAmounts {
  /**
   * What the hold of each call can still stand in for, by event id. An event whose tenant has no such hold, or whose hold was used up by
   * other events, is absent. Calls of one hold share it in the order given. Runs in the posting transaction.
   */
  abstract leftFor(tx: Sql, calls: readonly UnpricedCall[]): Promise<ReadonlyMap<string, Nano>>;
}

/** Where tenants' money stands after a batch; a tenant the ledger did not touch in it may be missing. */
export type TenantBalances = ReadonlyMap<string, TenantBalance>;

/** An event that could not be booked: no price, no usage, an absurd cost, or a booking that failed. */
export interface SetAsideEvent {
  readonly eventId: string;
  readonly tenantId: string;
  readonly provider: string | null;
  readonly model: string | null;
  readonly reason: string;
}

/**
 * A context that takes part in the posting transaction (reporting's rollups, later quota's counters and billing's pushes).
 * Runs inside it: what it writes is committed with the ledger or not at all. Must be linear in `movements`, never in history.
 */
export abstract class PostingParticipant {
  abstract onPosted(tx: Sql, movements: readonly SpendMovement[], balances: TenantBalances): Promise<void>;

  /** Called where there is at least one. */
  async onSetAside(_tx: Sql, _events: readonly SetAsideEvent[]): Promise<void> {}
}

/** A report that contradicts one that stands; it was kept as a dead letter. */
export interface EventConflict {
  readonly tenantId: string;
  readonly sourceId: string;
  readonly keptEventId: string;
  readonly deadLetterId: string;
  readonly receivedAt: Date;
}

/** Learns of conflicts in the transaction that keeps them; called where there is at least one. */
export abstract class ConflictObserver {
  abstract onConflicts(tx: Sql, conflicts: readonly EventConflict[]): Promise<void>;
}
