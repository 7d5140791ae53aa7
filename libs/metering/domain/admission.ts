/**
 * Whether a report may be booked and under which tenant.
 * A key bound to a tenant decides the tenant; a field anyone can send never overrides it.
 */
import { DAY_MS, MINUTE_MS } from '#libs/kernel/index.js';
import type { SpendReport } from './spend-event.js';

/** Clocks of senders run ahead a little; Stripe's meters allow the same five minutes. */
const MAX_AHEAD_MS = 5 * MINUTE_MS;

export type Refusal = { readonly code: string; readonly path: string; readonly message: string };

/** The rule that `occurredAt` breaks, or null. The window is [now - maxAgeDays, now + 5 minutes]. */
export function checkWindow(occurredAt: Date, now: Date, maxAgeDays: number): Refusal | null {
  if (occurredAt.getTime() > now.getTime() + MAX_AHEAD_MS) {
    return { code: 'event.too_new', path: 'occurred_at', message: 'must be at most 5 minutes in the future' };
  }
  if (occurredAt.getTime() < now.getTime() - maxAgeDays * DAY_MS) {
    return { code: 'event.too_old', path: 'occurred_at', message: `must be within the last ${maxAgeDays} days` };
  }
  return null;
}

export type TenantChoice =
  | { readonly kind: 'tenant'; readonly tenantId: string }
  | { readonly kind: 'unregistered'; readonly tenantId: string }
  | { readonly kind: 'unknown' }
  | { readonly kind: 'refused'; readonly refusal: Refusal };

/** Which tenant a report belongs to. `isRegistered` answers for the ids that were looked up. */
export function chooseTenant(report: SpendReport, boundTenantId: string | null, isRegistered: (tenantId: string) => boolean): TenantChoice {
  if (boundTenantId !== null) {
    if (report.tenantId !== null && report.tenantId !== boundTenantId) {
      return { kind: 'refused', refusal: { code: 'tenant.foreign', path: 'tenant_id', message: 'must be the tenant that the key belongs to' } };
    }
    return { kind: 'tenant', tenantId: boundTenantId };
  }
  if (report.tenantId === null) return { kind: 'unknown' };
  return isRegistered(report.tenantId) ? { kind: 'tenant', tenantId: report.tenantId } : { kind: 'unregistered', tenantId: report.tenantId };
}
