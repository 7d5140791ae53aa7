/**
 * A signed correction by an operator. A debit burns like usage. A credit first pays what the tenant owes and only the rest becomes credit,
 * as a promo lot without expiry: money that never came in must not be refundable in cash.
 */
import type { Nano } from '#libs/kernel/index.js';
import { lotAccount, RECEIVABLE, VARIANCE_ADJUSTMENT } from './account-code.js';
import { ADJUSTMENT_CONTRA, planBurn } from './burn-plan.js';
import type { Lot } from './lot.js';
import { transfer, type Transfer } from './transfer.js';

export interface AdjustmentPlan {
  readonly transfers: readonly Transfer[];
  /** What the new lot receives, 0 when none is made. */
  readonly creditedNano: Nano;
}

/** `amountNano` is not 0. `newLotId` names the lot to make, should one be needed. */
export function planAdjustment(input: { amountNano: Nano; lots: readonly Lot[]; receivableNano: Nano; at: Date; newLotId: string }): AdjustmentPlan {
  const { amountNano, receivableNano } = input;
  if (amountNano < 0n) return { transfers: planBurn(input.lots, -amountNano, input.at, ADJUSTMENT_CONTRA), creditedNano: 0n };
  const owed = receivableNano > 0n ? receivableNano : 0n;
  const settledNano = owed < amountNano ? owed : amountNano;
  const creditedNano = amountNano - settledNano;
  const transfers: Transfer[] = [];
  if (settledNano > 0n) transfers.push(transfer(VARIANCE_ADJUSTMENT, RECEIVABLE, settledNano));
  if (creditedNano > 0n) transfers.push(transfer(VARIANCE_ADJUSTMENT, lotAccount(input.newLotId), creditedNano));
  return { transfers, creditedNano };
}
