/**
 * An alert says that something happened once: a limit was crossed in a period, a balance ran low after a refill. What makes it the same
 * alert is the producer's key together with kind and tenant; two producers, a retry and a restart therefore raise it once.
 */
import { digest128Hex, type JsonObject } from '#libs/kernel/index.js';

export const ALERT_KINDS = [
  'threshold.crossed',
  'balance.low',
  'balance.exhausted',
  'hold.unresolved',
  'event.quarantined',
  'event.conflict',
  'period.closed',
  'anomaly.detected',
] as const;
export type AlertKind = (typeof ALERT_KINDS)[number];

/** Least first. */
export const SEVERITIES = ['info', 'warning', 'critical'] as const;
export type Severity = (typeof SEVERITIES)[number];

/** What a producer says. */
export interface NewAlert {
  readonly kind: AlertKind;
  /** Null: about no tenant in particular. */
  readonly tenantId: string | null;
  /** Names the crossing among those of its kind and tenant: "budget b1 80 % of 2026-11". Any text. */
  readonly dedupKey: string;
  readonly occurredAt: Date;
  readonly severity: Severity;
  /** What a receiver needs to act, a few fields with wire names; money as decimal text. Goes out as it is: no secret, no prompt. */
  readonly subject: JsonObject;
}

export interface Alert {
  readonly alertId: string;
  readonly kind: AlertKind;
  readonly severity: Severity;
  readonly tenantId: string | null;
  readonly occurredAt: Date;
  readonly raisedAt: Date;
  readonly subject: JsonObject;
}

/** Equal for two reports of one crossing, in 32 hexadecimal digits. */
export function dedupOf(alert: Pick<NewAlert, 'kind' | 'tenantId' | 'dedupKey'>): string {
  return digest128Hex(alert.kind, alert.tenantId ?? '', alert.dedupKey);
}

export function isAtLeast(severity: Severity, least: Severity): boolean {
  return SEVERITIES.indexOf(severity) >= SEVERITIES.indexOf(least);
}
