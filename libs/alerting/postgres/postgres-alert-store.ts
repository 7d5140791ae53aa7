import { newUuid, type JsonObject } from '#libs/kernel/index.js';
import { byteaArray, plainArray, textArray, timeArray } from '#libs/platform/postgres/array-literal.js';
import type { Sql } from '#libs/platform/postgres/database.js';
import { storableSubject } from '../application/noted-alert.js';
import { AlertStore, type AlertFilter } from '../application/ports.js';
import { dedupOf, type Alert, type AlertKind, type NewAlert, type Severity } from '../domain/alert.js';

export const ALERT_COLUMNS = 'alert_id, kind, severity, tenant_id, occurred_at, raised_at, subject';

export interface AlertRow {
  alert_id: string;
  kind: AlertKind;
  severity: Severity;
  tenant_id: string | null;
  occurred_at: Date;
  raised_at: Date;
  subject: JsonObject;
}

export function alertFromRow(row: AlertRow): Alert {
  return {
    alertId: row.alert_id,
    kind: row.kind,
    severity: row.severity,
    tenantId: row.tenant_id,
    occurredAt: row.occurred_at,
    raisedAt: row.raised_at,
    subject: row.subject,
  };
}

export class PostgresAlertStore extends AlertStore {
  override async raise(sql: Sql, alerts: readonly NewAlert[], at: Date): Promise<number> {
    const byDedup = new Map<string, NewAlert>();
    for (const alert of alerts) if (!byDedup.has(dedupOf(alert))) byDedup.set(dedupOf(alert), alert);
    const rows = [...byDedup].sort(([a], [b]) => (a < b ? -1 : 1));
    return await sql.execute(
      `INSERT INTO alerting.alert (dedup, alert_id, kind, severity, tenant_id, occurred_at, subject, raised_at)
       SELECT *, $8::timestamptz FROM unnest($1::bytea[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::jsonb[])
       ON CONFLICT (dedup) DO NOTHING`,
      [
        byteaArray(rows.map(([dedup]) => dedup)),
        plainArray(rows.map(() => newUuid(at))),
        textArray(rows.map(([, alert]) => alert.kind)),
        textArray(rows.map(([, alert]) => alert.severity)),
        textArray(rows.map(([, alert]) => alert.tenantId)),
        timeArray(rows.map(([, alert]) => alert.occurredAt)),
        textArray(rows.map(([, alert]) => JSON.stringify(storableSubject(alert.subject)))),
        at,
      ],
    );
  }

  override async takeUnrouted(tx: Sql, limit: number): Promise<Alert[]> {
    const rows = await tx.query<AlertRow>(
      {
        name: 'alerting.take-unrouted',
        text: `SELECT ${ALERT_COLUMNS} FROM alerting.alert WHERE routed_at IS NULL ORDER BY alert_id LIMIT $1 FOR UPDATE SKIP LOCKED`,
      },
      [limit],
    );
    return rows.map(alertFromRow);
  }

  override async markRouted(tx: Sql, alertIds: readonly string[], at: Date): Promise<void> {
    await tx.execute('UPDATE alerting.alert SET routed_at = $2 WHERE alert_id = ANY($1::uuid[])', [plainArray(alertIds), at]);
  }

  override async list(sql: Sql, filter: AlertFilter): Promise<Alert[]> {
    const rows = await sql.query<AlertRow>(
      `SELECT ${ALERT_COLUMNS} FROM alerting.alert
        WHERE ($1::text IS NULL OR tenant_id = $1) AND ($2::text IS NULL OR kind = $2)
          AND ($3::timestamptz IS NULL OR raised_at >= $3) AND ($4::timestamptz IS NULL OR raised_at < $4)
          AND ($5::uuid IS NULL OR alert_id < $5)
        ORDER BY alert_id DESC LIMIT $6`,
      [filter.tenantId ?? null, filter.kind ?? null, filter.from ?? null, filter.to ?? null, filter.before ?? null, filter.limit],
    );
    return rows.map(alertFromRow);
  }

  override async forget(sql: Sql, before: Date): Promise<number> {
    return await sql.execute('DELETE FROM alerting.alert WHERE raised_at < $1', [before]);
  }
}
