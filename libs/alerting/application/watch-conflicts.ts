import { toWireId } from '#libs/kernel/index.js';
import { ConflictObserver, type EventConflict } from '#libs/metering/index.js';
import type { Sql } from '#libs/platform/postgres/database.js';
import type { NewAlert } from '../domain/alert.js';
import type { NoteAlerts } from './note-alerts.js';

/** Two reports of one call that disagree about money: one alert per tenant, source and day, noted in the commit that keeps the second as a dead letter. */
export class WatchConflicts extends ConflictObserver {
  constructor(private readonly noteAlerts: NoteAlerts) {
    super();
  }

  override async onConflicts(tx: Sql, conflicts: readonly EventConflict[]): Promise<void> {
    await this.noteAlerts.execute({ tx, find: () => conflicts.map(alertOf) });
  }
}

function alertOf(conflict: EventConflict): NewAlert {
  const day = conflict.receivedAt.toISOString().slice(0, 10);
  return {
    kind: 'event.conflict',
    tenantId: conflict.tenantId,
    dedupKey: JSON.stringify([conflict.sourceId, day]),
    occurredAt: conflict.receivedAt,
    severity: 'warning',
    subject: { source: conflict.sourceId, day, kept_event: toWireId('evt', conflict.keptEventId), dead_letter: toWireId('dl', conflict.deadLetterId) },
  };
}
