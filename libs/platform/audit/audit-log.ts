/**
 * Who changed what, from what to what. An entry is written in the transaction of the change itself: neither exists without the other.
 * The table is insert-only (trigger and role).
 */
import { newUuid, type Json } from '../../kernel/index.js';
import type { Sql } from '../postgres/database.js';

export interface AuditEntry {
  readonly at: Date;
  /** "key:<wire key id>", "admin", or "system:<part>". */
  readonly actor: string;
  /** Past tense: "tenant.updated", "service_key.revoked". */
  readonly action: string;
  readonly entity: string;
  readonly entityId: string;
  readonly tenantId: string | null;
  readonly before: Json;
  readonly after: Json;
  readonly reason: string | null;
  readonly requestId: string | null;
}

export interface AuditRecord extends AuditEntry {
  readonly auditId: string;
}

export interface AuditFilter {
  readonly tenantId?: string | undefined;
  readonly entity?: string | undefined;
  /** Inclusive. */
  readonly from?: Date | undefined;
  /** Exclusive. */
  readonly to?: Date | undefined;
  /** Records older than this one only. */
  readonly before?: string | undefined;
  readonly limit: number;
}

/** Who asked for a change, and in which request; handed to every use case that writes an audit entry. */
export interface ChangeContext {
  readonly actor: string;
  readonly requestId: string | null;
}

export class AuditLog {
  /** Appends `entry` in the caller's transaction. */
  async append(tx: Sql, entry: AuditEntry): Promise<void> {
    await this.appendMany(tx, [entry]);
  }

  /** Appends `entries` in the caller's transaction, in one statement. */
  async appendMany(tx: Sql, entries: readonly AuditEntry[]): Promise<void> {
    if (entries.length === 0) return;
    await tx.execute(
      `INSERT INTO platform.audit (audit_id, at, actor, action, entity, entity_id, tenant_id, before, after, reason, request_id)
       SELECT * FROM unnest($1::uuid[], $2::timestamptz[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::jsonb[], $9::jsonb[], $10::text[], $11::text[])`,
      [
        entries.map((entry) => newUuid(entry.at)),
        entries.map((entry) => entry.at),
        entries.map((entry) => entry.actor),
        entries.map((entry) => entry.action),
        entries.map((entry) => entry.entity),
        entries.map((entry) => entry.entityId),
        entries.map((entry) => entry.tenantId),
        entries.map((entry) => (entry.before === null ? null : JSON.stringify(entry.before))),
        entries.map((entry) => (entry.after === null ? null : JSON.stringify(entry.after))),
        entries.map((entry) => entry.reason),
        entries.map((entry) => entry.requestId),
      ],
    );
  }

  /** Newest first. */
  async list(sql: Sql, filter: AuditFilter): Promise<AuditRecord[]> {
    const rows = await sql.query<AuditRow>(
      `SELECT audit_id, at, actor, action, entity, entity_id, tenant_id, before, after, reason, request_id
         FROM platform.audit
        WHERE ($1::text IS NULL OR tenant_id = $1)
          AND ($2::text IS NULL OR entity = $2)
          AND ($3::timestamptz IS NULL OR at >= $3)
          AND ($4::timestamptz IS NULL OR at < $4)
          AND ($5::uuid IS NULL OR audit_id < $5)
        ORDER BY audit_id DESC
        LIMIT $6`,
      [filter.tenantId ?? null, filter.entity ?? null, filter.from ?? null, filter.to ?? null, filter.before ?? null, filter.limit],
    );
    return rows.map((row) => ({
      auditId: row.audit_id,
      at: row.at,
      actor: row.actor,
      action: row.action,
      entity: row.entity,
      entityId: row.entity_id,
      tenantId: row.tenant_id,
      before: row.before,
      after: row.after,
      reason: row.reason,
      requestId: row.request_id,
    }));
  }
}

interface AuditRow {
  audit_id: string;
  at: Date;
  actor: string;
  action: string;
  entity: string;
  entity_id: string;
  tenant_id: string | null;
  before: Json;
  after: Json;
  reason: string | null;
  request_id: string | null;
}
