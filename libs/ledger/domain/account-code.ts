/**
 * The chart of accounts. Every account, income and expense ones too, belongs to one tenant, so no posting of one tenant ever waits for
 * another's and an account's code is unique within its tenant only. The kind of an account follows from its code and is never chosen.
 */
import { InvariantError } from '#libs/kernel/index.js';

export type AccountKind = 'asset' | 'liability' | 'income' | 'expense';

/** Use beyond the balance, not yet paid. */
export const RECEIVABLE = 'receivable';
/** Earned from paid lots. */
export const REVENUE_USAGE = 'revenue:usage';
/** Earned from the receivable. */
export const REVENUE_OVERAGE = 'revenue:overage';
/** Earned from paid lots that ran out of time. */
export const REVENUE_BREAKAGE = 'revenue:breakage';
/** The other side of a promo lot: its grant, its burn and its expiry. */
export const PROMO_FUNDING = 'promo:funding';
/** Cash that an operator booked by hand. */
export const CLEARING_MANUAL = 'clearing:manual';
/** The other side of an adjustment. */
export const VARIANCE_ADJUSTMENT = 'variance:adjustment';

const LOT = 'lot:';
const COST = 'cost:';
const PAYABLE = 'payable:';

const FIXED_KINDS: ReadonlyMap<string, AccountKind> = new Map([
  [RECEIVABLE, 'asset'],
  [CLEARING_MANUAL, 'asset'],
  [REVENUE_USAGE, 'income'],
  [REVENUE_OVERAGE, 'income'],
  [REVENUE_BREAKAGE, 'income'],
  [PROMO_FUNDING, 'income'],
  [VARIANCE_ADJUSTMENT, 'expense'],
]);

export function lotAccount(lotId: string): string {
  return LOT + lotId;
}

/** The lot behind "lot:<uuid>", or null for any other account. */
export function lotOfAccount(code: string): string | null {
  return code.startsWith(LOT) ? code.slice(LOT.length) : null;
}

/** What a provider's calls cost us. */
export function costAccount(provider: string): string {
  return COST + provider;
}

/** What we owe a provider. */
export function payableAccount(provider: string): string {
  return PAYABLE + provider;
}

/** @throws InvariantError for a code outside the chart */
export function accountKind(code: string): AccountKind {
  if (code.startsWith(LOT) || code.startsWith(PAYABLE)) return 'liability';
  if (code.startsWith(COST)) return 'expense';
  const kind = FIXED_KINDS.get(code);
  if (kind === undefined) throw new InvariantError(`"${code}" is not in the chart of accounts`);
  return kind;
}
