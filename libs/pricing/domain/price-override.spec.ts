import fc from 'fast-check';
import { formatPrice, parsePrice } from '../../kernel/index.js';
import { anOverride, aQuery, snapshotWith } from '../testing/price-decisions.js';
import { governingRevision } from './price-override.js';

const day = (number: number): Date => new Date(Date.UTC(2026, 0, number));
const times = fc.integer({ min: 0, max: 1_000_000 }).map((minutes) => new Date(Date.UTC(2026, 0, 1) + minutes * 60_000));
const prices = fc.bigInt({ min: 0n, max: 10n ** 12n }).map((femto) => formatPrice(femto));

describe('S5 a price change at t affects what is consumed at t or later, and nothing before', () => {
  it('for any change at any time', () => {
    fc.assert(
      fc.property(times, times, prices, prices, fc.integer({ min: 1, max: 1_000_000 }), (changedAt, consumedAt, oldPrice, newPrice, quantity) => {
        const query = aQuery({ provider: 'hosted_vllm', model: 'acme', usage: { input_tokens: quantity }, at: consumedAt });
        const first = anOverride({ provider: 'hosted_vllm', model: 'acme', prices: { input_tokens: oldPrice } });
        const second = anOverride({ provider: 'hosted_vllm', model: 'acme', prices: { input_tokens: newPrice }, revision: 2, effectiveFrom: changedAt });
        const before = snapshotWith({ overrides: [first] }).rate(query);
        const after = snapshotWith({ overrides: [first, second] }).rate(query);
        if (!before.ok || !after.ok) return false;
        if (consumedAt < changedAt) return after.costNano === before.costNano && after.priceVersion === 'override:my@1';
        return after.lines[0]?.unitPrice === parsePrice(newPrice) && after.priceVersion === 'override:my@2';
      }),
    );
  });

  it('the instant of the change has the new price', () => {
    const revisions = [anOverride({ prices: {}, effectiveFrom: day(1) }), anOverride({ prices: {}, effectiveFrom: day(5), revision: 2 })];
    expect(governingRevision(revisions, day(5))?.revision).toBe(2);
    expect(governingRevision(revisions, new Date(day(5).getTime() - 1))?.revision).toBe(1);
  });

  it('before the first revision nothing is overridden', () => {
    expect(governingRevision([anOverride({ prices: {}, effectiveFrom: day(5) })], day(4))).toBeUndefined();
  });

  it('an override that ends leaves the list price, not the revision before it', () => {
    const revisions = [anOverride({ prices: {}, effectiveFrom: day(1) }), anOverride({ prices: {}, effectiveFrom: day(1), effectiveTo: day(5), revision: 2 })];
    expect(governingRevision(revisions, day(4))?.revision).toBe(2);
    expect(governingRevision(revisions, day(5))).toBeUndefined();
  });

  it('a late report of an early call keeps the revision that held then', () => {
    const revisions = [anOverride({ prices: {}, effectiveFrom: day(1), effectiveTo: day(3) }), anOverride({ prices: {}, effectiveFrom: day(10), revision: 2 })];
    expect(governingRevision(revisions, day(2))?.revision).toBe(1);
    expect(governingRevision(revisions, day(4))).toBeUndefined();
  });

  it('of two overrides of one model the later start wins, per component', () => {
    const overrides = [
      anOverride({ overrideId: 'both', prices: { input_tokens: '0.000001', output_tokens: '0.000002' }, effectiveFrom: day(1) }),
      anOverride({ overrideId: 'input', prices: { input_tokens: '0.000005' }, effectiveFrom: day(2) }),
    ];
    const rating = snapshotWith({ overrides: overrides.toReversed() }).rate(aQuery({ usage: { input_tokens: 1, output_tokens: 1 }, at: day(3) }));
    expect(rating).toMatchObject({ costNano: 7_000n, priceVersion: 'genai-prices-0.1.8/openai/gpt-4o;override:both@1;override:input@1' });
  });
});
