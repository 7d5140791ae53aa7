/**
 * A transfer moves a positive amount from one account to another, so every list of transfers sums to zero by construction (L1).
 * The cached balances are folded from the transfers alone, here and nowhere else, so that no use case can move one without the other (L2).
 */
import { assert, MAX_NANO, type Nano } from '#libs/kernel/index.js';
import { lotOfAccount, RECEIVABLE } from './account-code.js';

export interface Transfer {
  /** Account codes within the tenant. */
  readonly debit: string;
  readonly credit: string;
  readonly amountNano: Nano;
}

export interface BalanceChange {
  readonly lotsNano: Nano;
  readonly receivableNano: Nano;
}

/** @throws InvariantError when the amount is not in (0, 9e15] or both accounts are one */
export function transfer(debit: string, credit: string, amountNano: Nano): Transfer {
  assert(amountNano > 0n && amountNano <= MAX_NANO, `a transfer of ${amountNano} nano-USD is out of range`);
  assert(debit !== credit, `a transfer within ${debit} moves nothing`);
  return { debit, credit, amountNano };
}

/** How `transfers` change the sum of the tenant's lots (a liability: credits raise it) and its receivable (an asset: debits raise it). */
export function balanceChange(transfers: readonly Transfer[]): BalanceChange {
  let lotsNano = 0n;
  let receivableNano = 0n;
  for (const { debit, credit, amountNano } of transfers) {
    if (lotOfAccount(debit) !== null) lotsNano -= amountNano;
    if (lotOfAccount(credit) !== null) lotsNano += amountNano;
    if (debit === RECEIVABLE) receivableNano += amountNano;
    if (credit === RECEIVABLE) receivableNano -= amountNano;
  }
  return { lotsNano, receivableNano };
}
