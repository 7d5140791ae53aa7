import type { Nano } from '#libs/kernel/index.js';
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
  /** The money transaction it belongs to; null when nothing moved. */
  readonly tenantSeq: bigint | null;
  readonly usage: Usage | null;
  readonly costNano: Nano;
  readonly chargeNano: Nano;
}

/**
 * A context that takes part in the posting transaction (reporting's rollups, later quota's counters and billing's pushes).
 * Runs inside it: what it writes is committed with the ledger or not at all. Must be linear in `movements`, never in history.
 */
export abstract class PostingParticipant {
  abstract onPosted(tx: Sql, movements: readonly SpendMovement[]): Promise<void>;
}
