/**
 * A lot is one grant of credit. Burn order is total and deterministic: priority, expiry (none last), promo before paid, effective time,
 * creation time, id. A lot that expired, was voided or is not yet effective at booking time is never burnt (L4, L5).
 */
import type { Nano } from '#libs/kernel/index.js';

export type LotKind = 'paid' | 'promo';

/** Lots of equal standing unless the grant says otherwise; 0 burns first, 100 last. */
export const DEFAULT_LOT_PRIORITY = 50;

export interface Lot {
  readonly lotId: string;
  readonly tenantId: string;
  readonly kind: LotKind;
  readonly grantedNano: Nano;
  readonly remainingNano: Nano;
  readonly priority: number;
  readonly effectiveAt: Date;
  readonly expiresAt: Date | null;
  readonly createdAt: Date;
  readonly voidedAt: Date | null;
  readonly reference: string | null;
}

/** The end of the interval in which a lot may be burnt is open: at `expiresAt` it is expired. */
export function isExpired(lot: Lot, at: Date): boolean {
  return lot.expiresAt !== null && lot.expiresAt.getTime() <= at.getTime();
}

export function isSpendable(lot: Lot, at: Date): boolean {
  return lot.remainingNano > 0n && lot.voidedAt === null && lot.effectiveAt.getTime() <= at.getTime() && !isExpired(lot, at);
}

/** Negative when `a` burns before `b`; 0 only for a lot and itself. */
export function compareBurnOrder(a: Lot, b: Lot): number {
  return (
    a.priority - b.priority ||
    compareExpiry(a.expiresAt, b.expiresAt) ||
    promoFirst(a) - promoFirst(b) ||
    a.effectiveAt.getTime() - b.effectiveAt.getTime() ||
    a.createdAt.getTime() - b.createdAt.getTime() ||
    compareText(a.lotId, b.lotId)
  );
}

/** The lots that may be burnt at `at`, in burn order. */
export function spendableLots(lots: readonly Lot[], at: Date): Lot[] {
  return lots.filter((lot) => isSpendable(lot, at)).sort(compareBurnOrder);
}

function compareExpiry(a: Date | null, b: Date | null): number {
  if (a === null || b === null) return Number(a === null) - Number(b === null);
  return a.getTime() - b.getTime();
}

function promoFirst(lot: Lot): number {
  return lot.kind === 'promo' ? 0 : 1;
}

function compareText(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
