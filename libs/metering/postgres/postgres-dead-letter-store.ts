import type { Database } from '#libs/platform/postgres/database.js';
import { DeadLetterStore, type DeadLetterFilter, type DeadLetterRow } from '../application/dead-letter-store.js';

interface Row {
  dead_letter_id: string;
  received_at: Date;
  source_id: string;
  tenant_id: string | null;
  external_id: string | null;
  code: string;
  path: string | null;
  detail: string;
  item: string;
  kept_event_id: string | null;
  attempts: number;
  replayed_at: Date | null;
  replay_outcome: string | null;
}

export class PostgresDeadLetterStore extends DeadLetterStore {
  constructor(private readonly database: Database) {
    super();
  }

  override async find(input: { deadLetterId: string; tenantId: string | null }): Promise<DeadLetterRow | null> {
    const [row] = await this.database.query<Row>('SELECT * FROM metering.dead_letter WHERE dead_letter_id = $1 AND ($2::text IS NULL OR tenant_id = $2)', [
      input.deadLetterId,
      input.tenantId,
    ]);
    return row ? fromRow(row) : null;
  }

  override async list(input: DeadLetterFilter): Promise<DeadLetterRow[]> {
    const rows = await this.database.query<Row>(
      `SELECT * FROM metering.dead_letter
       WHERE ($1::text IS NULL OR tenant_id = $1) AND ($2::text IS NULL OR source_id = $2) AND ($3::text IS NULL OR code = $3)
         AND (replayed_at IS NOT NULL) = $4 AND ($5::uuid IS NULL OR dead_letter_id < $5)
       ORDER BY dead_letter_id DESC LIMIT $6`,
      [input.tenantId, input.sourceId ?? null, input.code ?? null, input.replayed, input.before, input.limit],
    );
    return rows.map(fromRow);
  }

  override async markAttempt(input: { deadLetterId: string; replayedAt: Date | null; outcome: string }): Promise<void> {
    await this.database.execute('UPDATE metering.dead_letter SET attempts = attempts + 1, replayed_at = $2, replay_outcome = $3 WHERE dead_letter_id = $1', [
      input.deadLetterId,
      input.replayedAt,
      input.outcome,
    ]);
  }
}

function fromRow(row: Row): DeadLetterRow {
  return {
    deadLetterId: row.dead_letter_id,
    receivedAt: row.received_at,
    sourceId: row.source_id,
    tenantId: row.tenant_id,
    externalId: row.external_id,
    code: row.code,
    path: row.path,
    detail: row.detail,
    item: row.item,
    keptEventId: row.kept_event_id,
    attempts: row.attempts,
    replayedAt: row.replayed_at,
    replayOutcome: row.replay_outcome,
  };
}
