/**
 * One balanced transaction for a tenant's batch of spend events: burn transfers first, in burn order, then one cost transfer per provider.
 * Each event owns the half-open interval [from, to) of nano-USD counted along the burn transfers in line order. Intervals tile the batch's
 * charge, so any single event can later be explained and reversed exactly without a line per event.
 */
import { assert, MAX_NANO, type Nano } from '#libs/kernel/index.js';
import { costAccount, payableAccount } from './account-code.js';
import { planBurn, SPEND_CONTRA } from './burn-plan.js';
import type { Lot } from './lot.js';
import { transfer, type Transfer } from './transfer.js';

export interface SpendItem {
  readonly eventId: string;
  readonly provider: string;
  /** What the provider charges us, >= 0. */
  readonly costNano: Nano;
  /** What the tenant is charged, >= 0. */
  readonly chargeNano: Nano;
}

/** Nano-USD counted along the burn transfers of a transaction, half-open. */
export interface Interval {
  readonly from: Nano;
  readonly to: Nano;
}

export interface SpendTotals {
  readonly chargeNano: Nano;
  readonly costByProvider: ReadonlyMap<string, Nano>;
  readonly intervals: ReadonlyMap<string, Interval>;
}

/**
 * Adds a batch up, in the order given.
 * @throws InvariantError for a negative figure, an event named twice, or a batch beyond 9e15 nano-USD of charge or of one provider's cost
 */
export function totalSpend(items: readonly SpendItem[]): SpendTotals {
  const intervals = new Map<string, Interval>();
  const costByProvider = new Map<string, Nano>();
  let chargeNano = 0n;
  for (const item of items) {
    assert(item.chargeNano >= 0n && item.costNano >= 0n, `event ${item.eventId}: a spend is never negative`);
    assert(!intervals.has(item.eventId), `event ${item.eventId} is twice in one batch`);
    const from = chargeNano;
    chargeNano += item.chargeNano;
    intervals.set(item.eventId, { from, to: chargeNano });
    if (item.costNano > 0n) costByProvider.set(item.provider, (costByProvider.get(item.provider) ?? 0n) + item.costNano);
  }
  assert(chargeNano <= MAX_NANO, 'a batch is within 9,000,000 USD');
  return { chargeNano, costByProvider, intervals };
}

export function movesMoney(totals: SpendTotals): boolean {
  return totals.chargeNano > 0n || totals.costByProvider.size > 0;
}

/** The transfers of one spend transaction, in line order. */
export function planSpend(totals: SpendTotals, lots: readonly Lot[], at: Date): Transfer[] {
  const transfers = planBurn(lots, totals.chargeNano, at, SPEND_CONTRA);
  for (const [provider, costNano] of totals.costByProvider) {
    transfers.push(transfer(costAccount(provider), payableAccount(provider), costNano));
  }
  return transfers;
}
