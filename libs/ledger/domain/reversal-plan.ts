/**
 * Takes one event back out of its batch. The slices of the event's interval are recomputed from the transfers that were recorded, never
 * from today's burn order, and moved back last one first; the event's cost follows. Posting and reversing restores every account (L5).
 */
import { assert, type Nano } from '#libs/kernel/index.js';
import { costAccount, lotOfAccount, payableAccount, RECEIVABLE } from './account-code.js';
import type { Interval } from './spend-plan.js';
import { transfer, type Transfer } from './transfer.js';

/** The part of each burn transfer that lies in the interval, in line order. `recorded` is the whole transaction in line order. */
export function slicesOf(recorded: readonly Transfer[], interval: Interval): Transfer[] {
  assert(interval.from >= 0n && interval.from <= interval.to, 'an interval does not end before it begins');
  const slices: Transfer[] = [];
  let start = 0n;
  for (const line of recorded.filter(isBurn)) {
    const end = start + line.amountNano;
    const from = interval.from > start ? interval.from : start;
    const to = interval.to < end ? interval.to : end;
    if (from < to) slices.push(transfer(line.debit, line.credit, to - from));
    start = end;
  }
  assert(interval.to <= start, `an interval up to ${interval.to} is not inside a burn of ${start}`);
  return slices;
}

/** The transfers that undo `interval` of a recorded spend transaction and the event's cost at `provider`. */
export function planReversal(recorded: readonly Transfer[], interval: Interval, provider: string, costNano: Nano): Transfer[] {
  const back = slicesOf(recorded, interval)
    .reverse()
    .map((slice) => transfer(slice.credit, slice.debit, slice.amountNano));
  if (costNano === 0n) return back;
  const booked = recorded.find((line) => line.debit === costAccount(provider));
  assert(booked !== undefined && booked.amountNano >= costNano, `the transaction holds no ${costNano} nano-USD of cost at ${provider}`);
  return [...back, transfer(payableAccount(provider), costAccount(provider), costNano)];
}

function isBurn(line: Transfer): boolean {
  return line.debit === RECEIVABLE || lotOfAccount(line.debit) !== null;
}
