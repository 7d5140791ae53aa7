import fc from 'fast-check';
import {
  decimalTextOfNumber,
  divideHalfEven,
  formatPrice,
  formatUsd,
  FEMTO_PER_NANO,
  MAX_NANO,
  nanoFromGatewayNumber,
  parsePrice,
  parseUsd,
  roundToNano,
  tryParseUsd,
} from './money.js';

const amounts = fc.bigInt({ min: -MAX_NANO, max: MAX_NANO });

describe('S2 money is read from decimal text and printed without loss', () => {
  it('every amount survives print and read', () => {
    fc.assert(fc.property(amounts, (nano) => parseUsd(formatUsd(nano)) === nano));
  });

  it('every price survives print and read', () => {
    fc.assert(fc.property(fc.bigInt({ min: 0n, max: 10n ** 24n }), (price) => parsePrice(formatPrice(price)) === price));
  });

  it.each([
    ['12.345678901', 12_345_678_901n],
    ['0.1', 100_000_000n],
    ['-0.000000001', -1n],
    ['9000000', MAX_NANO],
  ])('reads %s', (text, nano) => {
    expect(parseUsd(text)).toBe(nano);
  });

  it.each([
    ['1e3', 'not_a_decimal'],
    ['', 'not_a_decimal'],
    [' 1', 'not_a_decimal'],
    ['+1', 'not_a_decimal'],
    ['01', 'not_a_decimal'],
    ['1.', 'not_a_decimal'],
    ['NaN', 'not_a_decimal'],
    ['١', 'not_a_decimal'],
    ['0.1234567891', 'too_many_decimals'],
    ['9000000.000000001', 'out_of_range'],
    ['-9000000.000000001', 'out_of_range'],
  ])('refuses %p as %s', (text, problem) => {
    expect(tryParseUsd(text)).toEqual({ ok: false, problem });
  });
});

describe('S2 a price has no sign, no exponent, and at most 15 decimals', () => {
  it.each(['-1', '-0', '1e-6', '', '.5', '0x10', 'NaN', '0.0000000000000001', '1 ', '1\n'])('refuses %p', (text) => {
    expect(() => parsePrice(text)).toThrow(/price\.invalid/);
  });

  it.each([
    [0n, '0'],
    [1n, '0.000000000000001'],
    [2_500_000_000n, '0.0000025'],
    [10n ** 16n, '10'],
    [10n ** 17n + 10n ** 14n, '100.1'],
  ])('prints %s as %s', (price, text) => {
    expect(formatPrice(price)).toBe(text);
  });
});

describe('L8 rounding is half-even, once', () => {
  it.each([
    [5n, 10n, 0n],
    [15n, 10n, 2n],
    [25n, 10n, 2n],
    [-5n, 10n, 0n],
    [-15n, 10n, -2n],
    [26n, 10n, 3n],
    [-26n, 10n, -3n],
  ])('%s / %s is %s', (numerator, denominator, expected) => {
    expect(divideHalfEven(numerator, denominator)).toBe(expected);
  });

  it('is never more than half a nano-dollar off, and even at exactly half', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: -(10n ** 30n), max: 10n ** 30n }), (femto) => {
        const doubledError = 2n * (roundToNano(femto) * FEMTO_PER_NANO - femto);
        const distance = doubledError < 0n ? -doubledError : doubledError;
        return distance < FEMTO_PER_NANO || (distance === FEMTO_PER_NANO && roundToNano(femto) % 2n === 0n);
      }),
    );
  });
});

describe('S2 a gateway float is read as the decimal it was written as', () => {
  it.each([
    [0.1, '0.1'],
    [0.1 + 0.2, '0.30000000000000004'],
    [1e-7, '0.0000001'],
    [2.5e-7, '0.00000025'],
    [1.5e21, '1500000000000000000000'],
    [-3.25, '-3.25'],
    [0, '0'],
  ])('%d is "%s"', (value, text) => {
    expect(decimalTextOfNumber(value)).toBe(text);
  });

  it('the text is the same number again', () => {
    fc.assert(fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), (value) => Number(decimalTextOfNumber(value)) === (value === 0 ? 0 : value)));
  });

  it('a float between two nano-dollars goes to the even one', () => {
    expect(nanoFromGatewayNumber(0.000_000_000_5)).toBe(0n);
    expect(nanoFromGatewayNumber(0.000_000_001_5)).toBe(2n);
    expect(nanoFromGatewayNumber(0.005_22)).toBe(5_220_000n);
  });

  it('an amount that a float holds to the digit comes back as it was', () => {
    const asSent = (printed: string): number => JSON.parse(printed) as number;
    fc.assert(fc.property(fc.bigInt({ min: -(10n ** 15n) + 1n, max: 10n ** 15n - 1n }), (nano) => nanoFromGatewayNumber(asSent(formatUsd(nano))) === nano));
  });

  it.each([Number.NaN, Number.POSITIVE_INFINITY, 9_000_001, -1e300])('%d is no amount', (value) => {
    expect(nanoFromGatewayNumber(value)).toBeNull();
  });
});
