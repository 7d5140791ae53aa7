/**
 * Money is a bigint count of nano-USD (1e-9 USD); a price is a bigint count of femto-USD (1e-15 USD) per unit.
 * Both are read from decimal text only, so no binary float ever touches an amount (invariant S2).
 * Cost of an event = sum(quantity x price), exact, rounded half-even ONCE to nano-USD (invariant L8).
 */
import { DomainError } from './errors.js';

/** An amount in nano-USD. */
export type Nano = bigint;
/** A price in femto-USD (1e-15 USD) per unit. */
export type FemtoPrice = bigint;

const NANO_DECIMALS = 9;
const FEMTO_DECIMALS = 15;
/** Femto-USD in one nano-USD. */
export const FEMTO_PER_NANO = 1_000_000n;
/** Every amount is within this at every door: 9,000,000 USD stays below 2^53 nano-USD, which Redis and Lua keep exact. */
export const MAX_NANO: Nano = 9_000_000_000_000_000n;

const DECIMAL_TEXT = /^(-?)(0|[1-9][0-9]{0,17})(?:\.([0-9]{1,30}))?$/;

export type MoneyProblem = 'not_a_decimal' | 'too_many_decimals' | 'out_of_range';

/**
 * Reads a decimal USD string such as "12.345678901" (sign allowed, no exponent, at most 9 decimals, within +-9,000,000).
 * Returns the amount, or the rule that was broken.
 */
export function tryParseUsd(text: string): { ok: true; nano: Nano } | { ok: false; problem: MoneyProblem } {
  const match = DECIMAL_TEXT.exec(text);
  if (!match) return { ok: false, problem: 'not_a_decimal' };
  const fraction = match[3] ?? '';
  if (fraction.length > NANO_DECIMALS) return { ok: false, problem: 'too_many_decimals' };
  const magnitude = BigInt(match[2] + fraction.padEnd(NANO_DECIMALS, '0'));
  if (magnitude > MAX_NANO) return { ok: false, problem: 'out_of_range' };
  return { ok: true, nano: match[1] === '-' ? -magnitude : magnitude };
}

/** As {@link tryParseUsd}, for text that was validated at a door. @throws DomainError money.invalid */
export function parseUsd(text: string): Nano {
  const parsed = tryParseUsd(text);
  if (!parsed.ok) throw new DomainError({ code: 'money.invalid', kind: 'invalid', publicMessage: moneyRule(parsed.problem) });
  return parsed.nano;
}

/** The sentence a caller gets for a broken money rule. */
export function moneyRule(problem: MoneyProblem): string {
  switch (problem) {
    case 'not_a_decimal':
      return 'must be a decimal string in USD such as "12.345678901", without exponent';
    case 'too_many_decimals':
      return 'must have at most 9 decimals';
    case 'out_of_range':
      return 'must be within 9,000,000 USD either way';
  }
}

/** Prints nano-USD with exactly nine decimals: 11000000n is "0.011000000". */
export function formatUsd(nano: Nano): string {
  return formatScaled(nano, NANO_DECIMALS);
}

/** Prints femto-USD per unit without trailing zeros: 2500000000n is "0.0000025". */
export function formatPrice(price: FemtoPrice): string {
  const text = formatScaled(price, FEMTO_DECIMALS);
  return text.replace(/\.?0+$/, '');
}

/** Reads a price per unit from decimal text with at most 15 decimals. @throws DomainError price.invalid */
export function parsePrice(text: string): FemtoPrice {
  const match = DECIMAL_TEXT.exec(text);
  const fraction = match?.[3] ?? '';
  if (!match || match[1] === '-' || fraction.length > FEMTO_DECIMALS) {
    throw new DomainError({
      code: 'price.invalid',
      kind: 'invalid',
      publicMessage: 'must be a non-negative decimal string in USD per unit with at most 15 decimals',
    });
  }
  return BigInt(match[2] + fraction.padEnd(FEMTO_DECIMALS, '0'));
}

/** Divides rounding half to even; denominator > 0. */
export function divideHalfEven(numerator: bigint, denominator: bigint): bigint {
  let quotient = numerator / denominator;
  let remainder = numerator % denominator;
  if (remainder < 0n) {
    remainder += denominator;
    quotient -= 1n;
  }
  const doubled = remainder * 2n;
  if (doubled > denominator || (doubled === denominator && quotient % 2n !== 0n)) quotient += 1n;
  return quotient;
}

/** Rounds an exact femto-USD sum to nano-USD, half-even. */
export function roundToNano(femto: bigint): Nano {
  return divideHalfEven(femto, FEMTO_PER_NANO);
}

/**
 * The decimal text of a JSON number a gateway sent (they send floats): the shortest text that prints it, exponent spelled out.
 * Returns null for anything that is not a finite number.
 */
export function decimalTextOfNumber(value: number): string | null {
  if (!Number.isFinite(value)) return null;
  const text = String(value);
  const match = /^(-?)(\d+)(?:\.(\d+))?(?:e([+-]\d+))?$/.exec(text);
  if (!match) return null;
  const [, sign = '', whole = '0', fraction = '', exponentText = '0'] = match;
  const exponent = Number(exponentText);
  const digits = whole + fraction;
  const point = whole.length + exponent;
  if (point <= 0) return `${sign}0.${'0'.repeat(-point)}${digits}`;
  if (point >= digits.length) return `${sign}${digits}${'0'.repeat(point - digits.length)}`.replace(/^(-?)0+(?=\d)/, '$1');
  return `${sign}${digits.slice(0, point)}.${digits.slice(point)}`.replace(/^(-?)0+(?=\d)/, '$1');
}

/** A gateway's float amount in nano-USD, rounded half-even; null when it is no finite number or out of range. */
export function nanoFromGatewayNumber(value: number): Nano | null {
  const text = decimalTextOfNumber(value);
  if (text === null) return null;
  const negative = text.startsWith('-');
  const [whole = '0', fraction = ''] = (negative ? text.slice(1) : text).split('.');
  const scale = 10n ** BigInt(fraction.length);
  const scaled = BigInt(whole + fraction) * 1_000_000_000n;
  const magnitude = divideHalfEven(scaled, scale);
  if (magnitude > MAX_NANO) return null;
  return negative ? -magnitude : magnitude;
}

const SAFE = BigInt(Number.MAX_SAFE_INTEGER);

function formatScaled(value: bigint, decimals: number): string {
  const magnitude = value < 0n ? -value : value;
  // The digits of a number are printed in half the time, and up to 2^53 it has the same ones.
  const digits = String(magnitude <= SAFE ? Number(magnitude) : magnitude).padStart(decimals + 1, '0');
  return `${value < 0n ? '-' : ''}${digits.slice(0, -decimals)}.${digits.slice(-decimals)}`;
}
