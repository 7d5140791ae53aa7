/**
 * What a tenant pays: the cost plus a percentage, or a price of the operator's own for a component. A revision counts from the moment
 * it was made, so a change of the card never reaches back to what was consumed before it (S5); the first one counts from the beginning.
 */
import type { FemtoPrice } from '../../kernel/index.js';
import { providerKey } from './provider-names.js';
import type { Component } from './usage.js';

/** A markup in 1e-4 percent: 150000n is 15 %, -1000000n is -100 %. */
export type Markup = bigint;

/** A markup of 0 over this is 0 %, one equal to it is 100 %. */
export const MARKUP_SCALE = 1_000_000n;

const MARKUP_TEXT = /^(-?)(0|[1-9][0-9]{0,4})(?:\.([0-9]{1,4}))?$/;

export const MARKUP_RULE = 'must be a decimal string of percent from "-100" to "99999.9999" with at most 4 decimals';

/** Reads "15", "12.5" or "-20"; null for anything else. */
export function parseMarkup(text: string): Markup | null {
  const match = MARKUP_TEXT.exec(text);
  if (!match) return null;
  const magnitude = BigInt(`${match[2]}${(match[3] ?? '').padEnd(4, '0')}`);
  const markup = match[1] === '-' ? -magnitude : magnitude;
  return markup < -MARKUP_SCALE ? null : markup;
}

/** "15" for 150000n. */
export function formatMarkup(markup: Markup): string {
  const digits = (markup < 0n ? -markup : markup).toString().padStart(5, '0');
  return `${markup < 0n ? '-' : ''}${digits.slice(0, -4)}.${digits.slice(-4)}`.replace(/\.?0+$/, '');
}

export interface RateCardPrices {
  /** null: whatever the provider. */
  readonly provider: string | null;
  /** null: whatever the model. */
  readonly model: string | null;
  readonly prices: ReadonlyMap<Component, FemtoPrice>;
}

export interface RateCardRevision {
  readonly rateCardId: string;
  readonly revision: number;
  readonly markup: Markup;
  readonly prices: readonly RateCardPrices[];
  readonly createdAt: Date;
}

/** How a cost becomes a charge for one model. */
export interface SellRate {
  readonly markup: Markup;
  readonly prices: ReadonlyMap<Component, FemtoPrice>;
}

/** The charge is the cost. */
export const AT_COST: SellRate = { markup: 0n, prices: new Map() };

/** The revision that counts at `at`; `revisions` in ascending order, at least one. */
export function revisionAt(revisions: readonly RateCardRevision[], at: Date): RateCardRevision | undefined {
  return revisions.findLast((revision) => revision.createdAt <= at) ?? revisions[0];
}

/** The card's rate for a model known by any of the lower-case `names`: per component the more specific entry wins, then the later one. */
export function sellRateFor(card: RateCardRevision, provider: string, names: readonly string[]): SellRate {
  const prices = new Map<Component, FemtoPrice>();
  for (const entry of card.prices.toSorted((a, b) => specificity(a) - specificity(b))) {
    if (entry.provider !== null && providerKey(entry.provider) !== provider) continue;
    if (entry.model !== null && !names.includes(entry.model.toLowerCase())) continue;
    for (const [component, price] of entry.prices) prices.set(component, price);
  }
  return { markup: card.markup, prices };
}

function specificity(entry: RateCardPrices): number {
  return (entry.provider === null ? 0 : 1) + (entry.model === null ? 0 : 2);
}
