/**
 * What becomes of one event at posting: booked at its rating, or set aside with the reason. Never free by accident: without a price or
 * without usage nothing is booked and the event waits in quarantine until a price, a better report or an operator settles it. Where money
 * is held for its call, an event without a price is charged what is held until the price arrives.
 */
import { FEMTO_PER_NANO, type Nano } from '#libs/kernel/index.js';
import type { RatedLine, Rating } from '#libs/pricing/index.js';
import { BUILT_IN_SOURCES } from './source.js';
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
      /** Why it is only provisional and stays listed until it can be rated; null for what stands. */
      readonly provisional: QuarantineReason | null;
    }
  | { readonly kind: 'quarantine'; readonly reason: QuarantineReason; readonly priceVersion: string | null };

/** Shown where an event names no provider or model. */
export const UNNAMED = 'unknown';

/** Stands for the version of the price that a provisional charge is waiting for. */
const NO_PRICE = 'unpriced';
/** The line of a charge that is what was held, not what was rated. */
const HELD = 'hold';

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
    return { ...unrated(event), costNano: 0n, chargeNano: 0n, lines: [], priceVersion: null, provisional: null };
  }
  const heldNano = policyCharge(event);
  if (heldNano !== null) return { ...heldCharge(event, heldNano), priceVersion: null, provisional: null };
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
    provisional: null,
  };
}

/** Whether what is held for the event's call may stand in for the price it waits for. */
export function waitsForPrice(booking: Booking): booking is Extract<Booking, { kind: 'quarantine' }> {
  return booking.kind === 'quarantine' && (booking.reason === 'model_unpriced' || booking.reason === 'component_unpriced');
}

/** Charges an event without a price what is held for its call; beyond `absurdCostNano` it waits for an operator as any other. */
export function bookByHold(event: PostableEvent, booking: Extract<Booking, { kind: 'quarantine' }>, heldNano: Nano, absurdCostNano: Nano): Booking {
  if (heldNano <= 0n || heldNano > absurdCostNano) return booking;
  return { ...heldCharge(event, heldNano), priceVersion: NO_PRICE, provisional: booking.reason };
}

/** What the policy of a hold that ran out charges of it: an amount that was worked out as a charge when it was held. */
function policyCharge(event: PostableEvent): Nano | null {
  return event.sourceId === BUILT_IN_SOURCES.hold && event.usage === null ? event.claimedCostNano : null;
}

/** A hold is an estimate of the charge, markup and all: marking it up again would take more than was held. */
function heldCharge(event: PostableEvent, heldNano: Nano): Omit<Extract<Booking, { kind: 'post' }>, 'priceVersion' | 'provisional'> {
  const line: RatedLine = { component: HELD, quantity: 1, unitPrice: heldNano * FEMTO_PER_NANO, costNano: heldNano, chargeNano: heldNano };
  return { ...unrated(event), costNano: heldNano, chargeNano: heldNano, lines: [line] };
}

function unrated(event: PostableEvent): { readonly kind: 'post'; readonly provider: string; readonly model: string } {
  return { kind: 'post', provider: event.provider ?? UNNAMED, model: event.model ?? UNNAMED };
}
