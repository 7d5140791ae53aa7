import { DomainError, type Clock, type Json } from '#libs/kernel/index.js';
import type { DeadLetterRow, DeadLetterStore } from './dead-letter-store.js';
import type { RecordEvents, RecordedItem } from './record-events.js';
import type { SourceDirectory } from './source-directory.js';

export interface ReplayedDeadLetter {
  readonly deadLetter: DeadLetterRow;
  readonly result: Pick<RecordedItem, 'outcome' | 'eventId' | 'code' | 'detail'>;
}

/**
 * Sends a dead letter through the inbox again, as it was stripped and kept. Idempotent: one that went through answers its first outcome
 * again, and the inbox itself recognises an event it has.
 */
export class ReplayDeadLetter {
  constructor(
    private readonly store: DeadLetterStore,
    private readonly sources: SourceDirectory,
    private readonly recordEvents: RecordEvents,
    private readonly clock: Clock,
  ) {}

  /**
   * @param input.tenantId the caller's tenant where its key has one: another tenant's dead letter does not exist for it
   * @throws DomainError dead_letter.not_found
   */
  async execute(input: { deadLetterId: string; tenantId: string | null }): Promise<ReplayedDeadLetter> {
    const deadLetter = await this.store.find(input);
    const source = deadLetter && (await this.sources.find(deadLetter.sourceId));
    if (!deadLetter || !source) throw new DomainError({ code: 'dead_letter.not_found', kind: 'not_found', publicMessage: 'no such dead letter' });
    if (deadLetter.replayedAt !== null) {
      return {
        deadLetter,
        result: { outcome: 'duplicate', eventId: null, code: 'dead_letter.replayed', detail: `replayed before: ${deadLetter.replayOutcome ?? ''}` },
      };
    }
    const item = JSON.parse(deadLetter.item) as Json;
    // A conflict's tenant is the event's own; a refused item's is that of the key it came with.
    const boundTenantId = deadLetter.keptEventId === null ? deadLetter.tenantId : input.tenantId;
    const recorded = await this.recordEvents.execute({ caller: { tenantId: boundTenantId }, source, items: [item], replay: true });
    const result = recorded.items[0];
    if (!result) throw new DomainError({ code: 'dead_letter.not_found', kind: 'not_found', publicMessage: 'no such dead letter' });
    const through = result.outcome === 'accepted' || result.outcome === 'corrected' || result.outcome === 'duplicate';
    await this.store.markAttempt({ deadLetterId: deadLetter.deadLetterId, replayedAt: through ? this.clock.now() : null, outcome: result.outcome });
    return { deadLetter: { ...deadLetter, attempts: deadLetter.attempts + 1 }, result };
  }
}
