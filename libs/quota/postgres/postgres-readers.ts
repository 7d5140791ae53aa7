import type { Nano } from '#libs/kernel/index.js';
import type { Database } from '#libs/platform/postgres/database.js';
import type { LoggedDecision } from '../application/decision-log.js';
import { HoldReader, type HoldFilter } from '../application/hold-reader.js';
import { DecisionReader, type DecisionFilter } from '../application/read-decisions.js';
import type { Hold } from '../domain/hold.js';
import { readDecisions } from './decision-rows.js';
import { fromHoldRow, type HoldRow } from './hold-rows.js';

export class PostgresHoldReader extends HoldReader {
  constructor(private readonly database: Database) {
    super();
  }

  override async list(filter: HoldFilter): Promise<Hold[]> {
    const rows = await this.database.query<HoldRow>(
      `SELECT * FROM quota.hold WHERE kind = 'call' AND ($1::text IS NULL OR tenant_id = $1) AND ($2::text IS NULL OR state = $2) AND ($3::uuid IS NULL OR hold_id < $3)
       ORDER BY hold_id DESC LIMIT $4`,
      [filter.tenantId ?? null, filter.state ?? null, filter.before, filter.limit],
    );
    return rows.map(fromHoldRow);
  }

  override async find(holdId: string): Promise<Hold | null> {
    const [row] = await this.database.query<HoldRow>(`SELECT * FROM quota.hold WHERE hold_id = $1 AND kind = 'call'`, [holdId]);
    return row ? fromHoldRow(row) : null;
  }

  override async hasHeld(tenantId: string): Promise<boolean> {
    return (await this.database.query('SELECT FROM quota.reserve WHERE tenant_id = $1', [tenantId])).length > 0;
  }

  override async heldNano(tenantId: string): Promise<Nano> {
    const [row] = await this.database.query<{ nano: Nano }>(
      `SELECT coalesce(sum(greatest(0, amount_nano - captured_nano)), 0)::bigint AS nano FROM quota.hold
       WHERE tenant_id = $1 AND (state = 'active' OR (state = 'unresolved' AND policy <> 'release' AND resolution = 'expired'))`,
      [tenantId],
    );
    return row?.nano ?? 0n;
  }

  override async unresolvedNano(tenantId: string, since: Date): Promise<Nano> {
    const [row] = await this.database.query<{ nano: Nano }>(
      `SELECT coalesce(sum(amount_nano), 0)::bigint AS nano FROM quota.hold WHERE tenant_id = $1 AND state = 'unresolved' AND resolved_at >= $2`,
      [tenantId, since],
    );
    return row?.nano ?? 0n;
  }
}

export class PostgresDecisionReader extends DecisionReader {
  constructor(private readonly database: Database) {
    super();
  }

  override async list(filter: DecisionFilter): Promise<LoggedDecision[]> {
    return await readDecisions(this.database, filter);
  }
}
