/** An alert on its way from the transaction that made it true to the list of alerts. */
import type { JsonObject } from '#libs/kernel/index.js';
import type { OutboxRow } from '#libs/platform/outbox/outbox.js';
import type { AlertKind, NewAlert, Severity } from '../domain/alert.js';

/** Outbox rows of this topic are alerts: nothing else says that they happened. */
export const NOTED_ALERTS_TOPIC = 'alert.noted';

interface Payload {
  readonly kind: AlertKind;
  readonly tenant_id: string | null;
  readonly dedup_key: string;
  readonly occurred_at: string;
  readonly severity: Severity;
  readonly subject: JsonObject;
}

export function toNotedRow(alert: NewAlert): OutboxRow {
  const payload: Payload = {
    kind: alert.kind,
    tenant_id: alert.tenantId,
    dedup_key: storable(alert.dedupKey),
    occurred_at: alert.occurredAt.toISOString(),
    severity: alert.severity,
    subject: storableSubject(alert.subject),
  };
  return { tenantId: alert.tenantId ?? '', tenantSeq: null, topic: NOTED_ALERTS_TOPIC, payload: { ...payload } };
}

export function fromNotedRow({ payload }: { readonly payload: Readonly<Record<string, unknown>> }): NewAlert {
  const noted = payload as unknown as Payload;
  return {
    kind: noted.kind,
    tenantId: noted.tenant_id,
    dedupKey: noted.dedup_key,
    occurredAt: new Date(noted.occurred_at),
    severity: noted.severity,
    subject: noted.subject,
  };
}

/** Names in an alert come from senders: what PostgreSQL cannot store is replaced, or the alert could never be told. */
export function storableSubject(subject: JsonObject): JsonObject {
  return JSON.parse(JSON.stringify(subject, (_key, value: unknown) => (typeof value === 'string' ? storable(value) : value))) as JsonObject;
}

function storable(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cs}]/gu, '?');
}
