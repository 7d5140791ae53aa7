import type { Sql } from '#libs/platform/postgres/database.js';
import type { DeadLetterDraft } from '../domain/stored-event.js';

/** Writes dead letters in the caller's transaction. */
export async function insertDeadLetters(tx: Sql, drafts: readonly DeadLetterDraft[]): Promise<void> {
  if (drafts.length === 0) return;
  await tx.execute(
    {
      name: 'metering.insert-dead-letters',
      text: `INSERT INTO metering.dead_letter (dead_letter_id, received_at, source_id, tenant_id, external_id, code, path, detail, item, kept_event_id)
             SELECT * FROM unnest($1::uuid[], $2::timestamptz[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::uuid[])`,
    },
    [
      drafts.map((draft) => draft.deadLetterId),
      drafts.map((draft) => draft.receivedAt),
      drafts.map((draft) => draft.sourceId),
      drafts.map((draft) => draft.tenantId),
      drafts.map((draft) => draft.externalId),
      drafts.map((draft) => draft.code),
      drafts.map((draft) => draft.path),
      drafts.map((draft) => draft.detail),
      drafts.map((draft) => draft.item),
      drafts.map((draft) => draft.keptEventId),
    ],
  );
}
