/**
 * The one function that turns usage into money. Guarantees:
 * - exact: quantity x price in integers, and ONE half-even rounding to nano-USD for the cost and one for the charge (L8: within 0.5 nUSD);
 * - the lines add up to the totals exactly: each line is rounded down and the missing nano-USD go to the largest remainders;
 * - never free in silence: a consumed component without a price makes the whole call unpriced. An explicit price of 0 is a price.
 */
import { assert, FEMTO_PER_NANO, divideHalfEven, type FemtoPrice, type Nano } from '../../kernel/index.js';
import { priceAt, priceOf, type PriceTable } from './price-table.js';
import { AT_COST, MARKUP_SCALE, type SellRate } from './rate-card.js';
import {
  INFORMATIONAL_METERS,
  meterComponent,
  meterName,
  REQUESTS,
  totalInputTokens,
  USAGE_POOLS,
  type Component,
  type Usage,
  type UsagePool,
} from './usage.js';

export interface RatedLine {
  /** A pool's name, "meter:<name>", or "reported_cost". */
  readonly component: string;
  readonly quantity: number;
  readonly unitPrice: FemtoPrice;
  readonly costNano: Nano;
  readonly chargeNano: Nano;
}

export type Rated =
  | { readonly ok: true; readonly lines: RatedLine[]; readonly costNano: Nano; readonly chargeNano: Nano }
  | { readonly ok: false; readonly component: Component };

export interface RateInput {
  readonly usage: Usage;
  readonly prices: PriceTable;
  readonly sell: SellRate;
  /** Charge nothing, whatever it cost (the tenant is not known). */
  readonly free: boolean;
}

interface ExactLine {
  readonly component: string;
  readonly quantity: number;
  readonly unitPrice: FemtoPrice;
  /** Femto-USD. */
  readonly cost: bigint;
  /** Femto-USD x MARKUP_SCALE. */
  readonly charge: bigint;
}

const CHARGE_PER_NANO = FEMTO_PER_NANO * MARKUP_SCALE;

/** Rates one call. Quantities are non-negative safe integers. */
export function rate(input: RateInput): Rated {
  const totalInput = totalInputTokens(input.usage);
  const lines: ExactLine[] = [];
  for (const [component, quantity] of billableQuantities(input)) {
    const line = exactLine(input, component, quantity, totalInput);
    if (line === 'informational') continue;
    if (line === 'unpriced') return { ok: false, component };
    lines.push(line);
  }
  return settle(lines, input.sell, input.free);
}

/** A cost somebody else worked out: one line, marked up like any other. */
export function rateReportedCost(costNano: Nano, sell: SellRate, free: boolean): Extract<Rated, { ok: true }> {
  const cost = costNano * FEMTO_PER_NANO;
  const line = { component: 'reported_cost', quantity: 1, unitPrice: cost, cost, charge: cost * (MARKUP_SCALE + sell.markup) };
  return settle([line], sell, free);
}

function billableQuantities({ usage, prices, sell }: RateInput): [Component, number][] {
  const quantities: [Component, number][] = [];
  // Reasoning is inside output: it has a line of its own only where it has a price of its own, and then output is the rest.
  const reasoningApart = prices.has('reasoning_tokens') || sell.prices.has('reasoning_tokens');
  const output = usage.output_tokens ?? 0;
  const reasoning = reasoningApart ? Math.min(usage.reasoning_tokens ?? 0, output) : 0;
  let consumed = false;
  for (const pool of USAGE_POOLS) {
    const quantity = quantityOf(usage, pool, output, reasoning);
    assert(quantity >= 0, 'usage quantities are never negative');
    if (quantity === 0) continue;
    consumed = true;
    quantities.push([pool, quantity]);
  }
  if (usage.meters !== undefined) {
    for (const name of Object.keys(usage.meters).sort()) {
      const quantity = usage.meters[name] ?? 0;
      assert(quantity >= 0, 'usage quantities are never negative');
      if (quantity > 0) quantities.push([meterComponent(name), quantity]);
    }
  }
  // A price per request applies to a call whether or not its reporter counts requests.
  if (consumed && usage.meters?.['requests'] === undefined && (prices.has(REQUESTS) || sell.prices.has(REQUESTS))) quantities.push([REQUESTS, 1]);
  return quantities;
}

function quantityOf(usage: Usage, pool: UsagePool, output: number, reasoning: number): number {
  if (pool === 'output_tokens') return output - reasoning;
  if (pool === 'reasoning_tokens') return reasoning;
  return usage[pool] ?? 0;
}

function exactLine({ prices, sell }: RateInput, component: Component, quantity: number, totalInput: number): ExactLine | 'informational' | 'unpriced' {
  const listed = priceOf(prices, component);
  const sellPrice = sell.prices.get(component) ?? (component === 'reasoning_tokens' ? sell.prices.get('output_tokens') : undefined);
  if (listed === undefined) {
    if (!isInformational(component)) return 'unpriced';
    if (sellPrice === undefined) return 'informational';
  }
  const unitPrice = listed === undefined ? 0n : priceAt(listed, totalInput);
  const units = BigInt(quantity);
  const cost = units * unitPrice;
  const charge = sellPrice === undefined ? cost * (MARKUP_SCALE + sell.markup) : units * sellPrice * MARKUP_SCALE;
  return { component, quantity, unitPrice, cost, charge };
}

function isInformational(component: Component): boolean {
  const meter = meterName(component);
  return meter !== null && INFORMATIONAL_METERS.has(meter);
}

function settle(lines: readonly ExactLine[], sell: SellRate, free: boolean): Extract<Rated, { ok: true }> {
  const costs = apportion(
    lines.map((line) => line.cost),
    FEMTO_PER_NANO,
  );
  const charges = apportionCharges(lines, costs, sell, free);
  return {
    ok: true,
    lines: lines.map(({ component, quantity, unitPrice }, index) => ({
      component,
      quantity,
      unitPrice,
      costNano: costs.parts[index] ?? 0n,
      chargeNano: charges.parts[index] ?? 0n,
    })),
    costNano: costs.total,
    chargeNano: charges.total,
  };
}

function apportionCharges(lines: readonly ExactLine[], costs: Apportioned, sell: SellRate, free: boolean): Apportioned {
  if (free) return { total: 0n, parts: [] };
  // At cost the exact charge is the exact cost: rounding and splitting it again gives the same.
  if (sell === AT_COST) return costs;
  return apportion(
    lines.map((line) => line.charge),
    CHARGE_PER_NANO,
  );
}

interface Apportioned {
  readonly total: Nano;
  readonly parts: readonly Nano[];
}

/** Rounds the sum of `exact` / `scale` once, half-even, and splits it by largest remainder (the earlier line first when equal). */
function apportion(exact: readonly bigint[], scale: bigint): Apportioned {
  let sum = 0n;
  let floors = 0n;
  const parts: Nano[] = [];
  for (const value of exact) {
    const floor = value / scale;
    sum += value;
    floors += floor;
    parts.push(floor);
  }
  const total = divideHalfEven(sum, scale);
  let missing = total - floors;
  if (missing > 0n) {
    const byRemainder = exact
      .map((value, index) => ({ index, remainder: value % scale }))
      .sort((a, b) => (a.remainder === b.remainder ? a.index - b.index : a.remainder > b.remainder ? -1 : 1));
    for (const { index } of byRemainder) {
      if (missing === 0n) break;
      parts[index] = (parts[index] ?? 0n) + 1n;
      missing -= 1n;
    }
  }
  return { total, parts };
}
