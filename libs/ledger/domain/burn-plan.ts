/**
 * Where a charge is taken from: lots in burn order, each as far as it reaches, the remainder from the receivable, which has no bottom
 * (whether the call may happen was decided before; what happened is always booked). Pure, so that order and sums are testable alone.
 */
import { assert, type Nano } from '#libs/kernel/index.js';
import { lotAccount, PROMO_FUNDING, RECEIVABLE, REVENUE_OVERAGE, REVENUE_USAGE, VARIANCE_ADJUSTMENT } from './account-code.js';
import { spendableLots, type Lot } from './lot.js';
import { transfer, type Transfer } from './transfer.js';

/** The account that each kind of source is burnt against. */
export interface BurnContra {
  readonly paid: string;
  readonly promo: string;
  readonly receivable: string;
}

/** A call's charge: income from paid credit and from debt; a promo lot only gives back what funded it. */
export const SPEND_CONTRA: BurnContra = { paid: REVENUE_USAGE, promo: PROMO_FUNDING, receivable: REVENUE_OVERAGE };
/** An operator's debit is no income. */
export const ADJUSTMENT_CONTRA: BurnContra = { paid: VARIANCE_ADJUSTMENT, promo: VARIANCE_ADJUSTMENT, receivable: VARIANCE_ADJUSTMENT };

/** The transfers that take `amountNano` (>= 0) at instant `at`; their amounts add up to it. */
export function planBurn(lots: readonly Lot[], amountNano: Nano, at: Date, contra: BurnContra): Transfer[] {
  assert(amountNano >= 0n, 'a burn is never negative');
  const transfers: Transfer[] = [];
  let left = amountNano;
  if (left === 0n) return transfers;
  for (const lot of spendableLots(lots, at)) {
    if (left === 0n) break;
    const taken = lot.remainingNano < left ? lot.remainingNano : left;
    transfers.push(transfer(lotAccount(lot.lotId), contra[lot.kind], taken));
    left -= taken;
  }
  if (left > 0n) transfers.push(transfer(RECEIVABLE, contra.receivable, left));
  return transfers;
}
