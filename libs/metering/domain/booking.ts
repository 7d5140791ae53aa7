/**
 * What becomes of one event at posting: booked at its rating, or set aside with the reason. Never free by accident: without a price or
 * without usage nothing is booked and the event waits in quarantine until a price, a better report or an operator settles it.
 */
import type { Nano } from '#libs/kernel/index.js';
import type { RatedLine, Rating } from '#libs/pricing/index.js';
import type { PostableEvent } from './stored-event.js';

export type QuarantineReason = 'model_unpriced' | 'component_unpriced' | 'usage_unknown' | 'absurd_cost' | 'posting_failed';

export type Booking =
  | {
      readonly kind: 'post';
      readonly provider: string;
      readonly model: string;
      readonly costNano: Nano;
      readonly chargeNano: Nano;
      readonly lines: readonly RatedLine[];
      readonly priceVersion: string | null;
    }
  | { readonly kind: 'quarantine'; readonly reason: QuarantineReason; readonly priceVersion: string | null };

/** Shown where an event names no provider or model. */
export const UNNAMED = 'unknown';

/** The cost the sender states, when the source is trusted for cost. */
export function reportedCost(event: PostableEvent): Nano | null {
  return event.costTrusted ? event.claimedCostNano : null;
}

/** Whether the event consumed nothing that has a price: blocked before the provider, or every figure is a known zero. */
export function consumedNothing(event: PostableEvent): boolean {
  if (event.usage === null) return event.status === 'blocked';
  for (const [name, figure] of Object.entries(event.usage)) {
    if (name === 'meters' ? Object.values(figure).some((quantity) => quantity !== 0) : figure !== 0) return false;
  }
  return true;
}

/**
 * @param rate rates the event; only called when there is something to rate
 * @param absurdCostNano an event above this is quarantined instead of booked
 */
export function decideBooking(event: PostableEvent, rate: () => Rating, absurdCostNano: Nano): Booking {
  if (consumedNothing(event) && reportedCost(event) === null) {
    return { kind: 'post', provider: event.provider ?? UNNAMED, model: event.model ?? UNNAMED, costNano: 0n, chargeNano: 0n, lines: [], priceVersion: null };
  }
  if (event.usage === null && reportedCost(event) === null) return { kind: 'quarantine', reason: 'usage_unknown', priceVersion: null };
  const rating = rate();
  if (!rating.ok) return { kind: 'quarantine', reason: rating.reason, priceVersion: null };
  if (rating.costNano > absurdCostNano || rating.chargeNano > absurdCostNano)
    return { kind: 'quarantine', reason: 'absurd_cost', priceVersion: rating.priceVersion };
  return {
    kind: 'post',
    provider: rating.provider,
    model: rating.model,
    costNano: rating.costNano,
    chargeNano: rating.chargeNano,
    lines: rating.lines,
    priceVersion: rating.priceVersion,
  };
}
