/**
 * Refuses prices that are almost surely in the wrong column before anybody is billed by them: above a bound per unit, or more than
 * twenty times away, up or down, from what applies now. The second can be insisted on (`accept_jump`), the first cannot.
 */
import { formatPrice, parsePrice, type FemtoPrice, type FieldProblem } from '../../kernel/index.js';
import { priceOf, type PriceTable } from './price-table.js';
import { COMPONENT_RULE, isComponent, type Component } from './usage.js';

/** 0.01 USD: ten times the dearest token ever listed. */
const MAX_TOKEN_PRICE = parsePrice('0.01');
/** 100 USD for an image, a page, a search, an hour of anything counted. */
const MAX_UNIT_PRICE = parsePrice('100');
const MAX_JUMP = 20n;

const PRICE_TEXT = /^(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,15})?$/;
const PRICE_RULE = 'must be a non-negative decimal string in USD per unit with at most 15 decimals, without exponent';

/** Reads {component: "decimal"}; every problem names its component. */
export function readPrices(prices: Readonly<Record<string, string>>, path: string): { prices: Map<Component, FemtoPrice>; problems: FieldProblem[] } {
  const read = new Map<Component, FemtoPrice>();
  const problems: FieldProblem[] = [];
  for (const [component, text] of Object.entries(prices)) {
    const where = `${path}.${component}`;
    if (!isComponent(component)) problems.push({ path: where, message: COMPONENT_RULE });
    else if (!PRICE_TEXT.test(text)) problems.push({ path: where, message: PRICE_RULE });
    else {
      const price = parsePrice(text);
      const bound = maxPrice(component);
      if (price > bound) problems.push({ path: where, message: `must be at most ${formatPrice(bound)} USD per unit` });
      else read.set(component, price);
    }
  }
  if (Object.keys(prices).length === 0) problems.push({ path, message: 'must name at least one component' });
  return { prices: read, problems };
}

function maxPrice(component: Component): FemtoPrice {
  return component.endsWith('_tokens') ? MAX_TOKEN_PRICE : MAX_UNIT_PRICE;
}

/** The components whose new price is more than twenty times the one of `now`, or less than a twentieth of it. */
export function jumps(prices: ReadonlyMap<Component, FemtoPrice>, now: PriceTable): { component: Component; from: FemtoPrice; to: FemtoPrice }[] {
  return [...prices].flatMap(([component, to]) => {
    const from = priceOf(now, component)?.base;
    if (from === undefined || from === to) return [];
    return to > from * MAX_JUMP || from > to * MAX_JUMP ? [{ component, from, to }] : [];
  });
}
