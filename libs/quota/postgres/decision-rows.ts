import type { Sql } from '#libs/platform/postgres/database.js';
import type { LoggedDecision } from '../application/decision-log.js';
import type { DecisionFilter } from '../application/read-decisions.js';

interface DecisionRow {
  decision_id: string;
  at: Date;
  tenant_id: string;
  call_id: string | null;
  decision: LoggedDecision['decision'];
  would: LoggedDecision['would'];
  reason: string;
  hold_id: string | null;
  numbers: Record<string, unknown>;
}

export async function insertDecisions(sql: Sql, decisions: readonly LoggedDecision[]): Promise<void> {
  await sql.execute(
    `INSERT INTO quota.decision (decision_id, at, tenant_id, call_id, decision, would, reason, hold_id, numbers)
     SELECT * FROM unnest($1::uuid[], $2::timestamptz[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::uuid[], $9::jsonb[])`,
    [
      decisions.map((row) => row.decisionId),
      decisions.map((row) => row.at),
      decisions.map((row) => row.tenantId),
      decisions.map((row) => row.callId),
      decisions.map((row) => row.decision),
      decisions.map((row) => row.would),
      decisions.map((row) => row.reason),
      decisions.map((row) => row.holdId),
      decisions.map((row) => JSON.stringify(row.numbers)),
    ],
  );
}

export async function readDecisions(sql: Sql, filter: DecisionFilter): Promise<LoggedDecision[]> {
  const rows = await sql.query<DecisionRow>(
    `SELECT * FROM quota.decision
     WHERE ($1::text IS NULL OR tenant_id = $1) AND ($2::text IS NULL OR call_id = $2) AND ($3::text IS NULL OR decision = $3)
       AND ($4::timestamptz IS NULL OR at >= $4) AND ($5::uuid IS NULL OR decision_id < $5) AND ($6::uuid IS NULL OR decision_id = $6)
     ORDER BY decision_id DESC LIMIT $7`,
    [
      filter.tenantId ?? null,
      filter.callId ?? null,
      filter.decision ?? null,
      filter.from ?? null,
      filter.before ?? null,
      filter.decisionId ?? null,
      filter.limit,
    ],
  );
  return rows.map((row) => ({
    decisionId: row.decision_id,
    at: row.at,
    tenantId: row.tenant_id,
    callId: row.call_id,
    decision: row.decision,
    would: row.would,
    reason: row.reason,
    holdId: row.hold_id,
    numbers: row.numbers,
  }));
}

/** Decisions are kept for 35 days. */
export async function forgetDecisions(sql: Sql, before: Date): Promise<number> {
  return await sql.execute('DELETE FROM quota.decision WHERE at < $1', [before]);
}
