/**
 * The prices that apply to one model at one instant, and what stands in for a component the provider's list does not name.
 * A price is only ever inherited where the provider's own list says so by leaving it out; nothing is estimated from another price:
 * - reasoning is output, and costs what output costs;
 * - image input costs what text input costs, unless listed apart: that is how chat models list it;
 * - cache reads cost what uncached input costs where the list has no cache price at all;
 * - cache writes (either lifetime) cost what uncached input costs where the list has no price for writing: writing is then free of surcharge;
 * - a 1 hour write beside a listed 5 minute write, audio, and meters are never inherited: the component is unpriced.
 */
import type { FemtoPrice } from '../../kernel/index.js';
import type { Component, UsagePool } from './usage.js';

/** Above `above` total input tokens every token of the call costs `price`: a cliff, not a marginal rate. */
export interface PriceTier {
  readonly above: number;
  readonly price: FemtoPrice;
}

export interface ComponentPrice {
  readonly base: FemtoPrice;
  /** In ascending order of `above`. */
  readonly tiers: readonly PriceTier[];
}

export type PriceTable = ReadonlyMap<Component, ComponentPrice>;

export function flatPrice(base: FemtoPrice): ComponentPrice {
  return { base, tiers: [] };
}

/** The price of one unit in a call with `totalInput` input tokens. */
export function priceAt(price: ComponentPrice, totalInput: number): FemtoPrice {
  let current = price.base;
  for (const tier of price.tiers) {
    if (totalInput <= tier.above) break;
    current = tier.price;
  }
  return current;
}

/** The price of a component, listed or inherited; undefined when the component is unpriced. */
export function priceOf(table: PriceTable, component: Component): ComponentPrice | undefined {
  return table.get(component) ?? inheritedPrice(table, component);
}

function inheritedPrice(table: PriceTable, component: Component): ComponentPrice | undefined {
  if (component === 'image_input_tokens') return table.get('input_tokens');
  if (component === 'reasoning_tokens') return table.get('output_tokens');
  const isWrite = component === 'cache_creation_tokens' || component === 'cache_creation_1h_tokens';
  if (!isWrite && component !== 'cache_read_tokens') return undefined;
  return listsAny(table, 'cache_creation_tokens', 'cache_creation_1h_tokens') ? undefined : table.get('input_tokens');
}

function listsAny(table: PriceTable, ...pools: UsagePool[]): boolean {
  return pools.some((pool) => table.has(pool));
}
