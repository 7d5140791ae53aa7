import type { DeadLetterDraft } from '../domain/stored-event.js';

export interface DeadLetterRow extends DeadLetterDraft {
  readonly attempts: number;
  readonly replayedAt: Date | null;
  readonly replayOutcome: string | null;
}

export interface DeadLetterFilter {
  readonly tenantId: string | null;
  readonly sourceId: string | undefined;
  readonly code: string | undefined;
  /** Those that went through a replay, or those still open. */
  readonly replayed: boolean;
  readonly limit: number;
  /** Id of the last row of the page before. */
  readonly before: string | null;
}

export abstract class DeadLetterStore {
  /** `tenantId` narrows to that tenant's. */
  abstract find(input: { deadLetterId: string; tenantId: string | null }): Promise<DeadLetterRow | null>;
  /** Newest first. */
  abstract list(filter: DeadLetterFilter): Promise<DeadLetterRow[]>;
  /** Counts an attempt; `replayedAt` closes the dead letter. */
  abstract markAttempt(input: { deadLetterId: string; replayedAt: Date | null; outcome: string }): Promise<void>;
}
