/**
 * How a lot is filled and emptied other than by use. Cash enters and leaves through clearing, promo credit only ever moves against
 * promo:funding (L7), and what runs out of time is breakage. A closing takes exactly what is left, so a lot ends at zero.
 */
import type { Nano } from '#libs/kernel/index.js';
import { CLEARING_MANUAL, lotAccount, PROMO_FUNDING, RECEIVABLE, REVENUE_BREAKAGE } from './account-code.js';
import { isExpired, type Lot, type LotKind } from './lot.js';
import { transfer, type Transfer } from './transfer.js';

export function planGrant(lotId: string, kind: LotKind, amountNano: Nano): Transfer {
  return transfer(kind === 'promo' ? PROMO_FUNDING : CLEARING_MANUAL, lotAccount(lotId), amountNano);
}

/** What a new lot pays of an existing debt, or null when nothing is owed. */
export function planCollection(lotId: string, amountNano: Nano, receivableNano: Nano): Transfer | null {
  if (receivableNano <= 0n) return null;
  return transfer(lotAccount(lotId), RECEIVABLE, receivableNano < amountNano ? receivableNano : amountNano);
}

export interface LotClosing {
  readonly kind: 'void' | 'expiry';
  readonly transfer: Transfer;
}

/**
 * What takes the rest of a lot away at `at`, or null when it is to stay. A void goes before an expiry: the operator's word was to give
 * the money back. Applies again when a reversal put money back on a lot that was closed before.
 */
export function planClosing(lot: Lot, at: Date): LotClosing | null {
  if (lot.remainingNano === 0n) return null;
  if (lot.voidedAt !== null) return { kind: 'void', transfer: closeAgainst(lot, CLEARING_MANUAL) };
  if (isExpired(lot, at)) return { kind: 'expiry', transfer: closeAgainst(lot, REVENUE_BREAKAGE) };
  return null;
}

function closeAgainst(lot: Lot, paidSide: string): Transfer {
  return transfer(lotAccount(lot.lotId), lot.kind === 'promo' ? PROMO_FUNDING : paidSide, lot.remainingNano);
}
