import fc from 'fast-check';
import { aLot } from '../testing/lot-builder.js';
import { compareBurnOrder, isSpendable, spendableLots, type Lot } from './lot.js';

const NOON = new Date('2026-11-22T12:00:00.000Z');
const EARLIER = new Date('2026-11-22T11:00:00.000Z');
const LATER = new Date('2026-11-22T13:00:00.000Z');

const anyLot: fc.Arbitrary<Lot> = fc
  .record({
    lotId: fc.uuid(),
    kind: fc.constantFrom('paid' as const, 'promo' as const),
    priority: fc.constantFrom(0, 50, 100),
    effectiveAt: fc.constantFrom(EARLIER, NOON),
    expiresAt: fc.constantFrom(null, NOON, LATER),
    createdAt: fc.constantFrom(EARLIER, NOON),
  })
  .map(aLot);

describe('L5 burn order', () => {
  it.each<[string, Partial<Lot>, Partial<Lot>]>([
    ['a lower priority before an earlier expiry', { priority: 1 }, { priority: 2, expiresAt: LATER }],
    ['an earlier expiry before a later one', { expiresAt: NOON }, { expiresAt: LATER, kind: 'promo' }],
    ['an expiry before none', { expiresAt: LATER }, { expiresAt: null, kind: 'promo' }],
    ['promo before paid', { kind: 'promo', effectiveAt: NOON }, { kind: 'paid', effectiveAt: EARLIER }],
    ['the earlier effective one before the later', { effectiveAt: EARLIER, createdAt: NOON }, { effectiveAt: NOON, createdAt: EARLIER }],
    ['the earlier made one before the later', { createdAt: EARLIER, lotId: 'b' }, { createdAt: NOON, lotId: 'a' }],
    ['the smaller id where all else is equal', { lotId: 'a' }, { lotId: 'b' }],
  ])('burns %s', (_rule, first, second) => {
    expect(compareBurnOrder(aLot(first), aLot(second))).toBeLessThan(0);
    expect(compareBurnOrder(aLot(second), aLot(first))).toBeGreaterThan(0);
  });

  it('is total: any shuffle of the same lots sorts to one order', () => {
    fc.assert(
      fc.property(
        fc
          .uniqueArray(anyLot, { selector: (lot) => lot.lotId, maxLength: 8 })
          .chain((lots) => fc.tuple(fc.constant(lots), fc.shuffledSubarray(lots, { minLength: lots.length }))),
        ([lots, shuffled]) => {
          expect(shuffled.toSorted(compareBurnOrder)).toEqual(lots.toSorted(compareBurnOrder));
        },
      ),
    );
  });
});

describe('L4 lots that are never burnt', () => {
  it.each<[string, Partial<Lot>, boolean]>([
    ['one that expires after the booking', { expiresAt: LATER }, true],
    ['one that expires at the booking', { expiresAt: NOON }, false],
    ['one that expired before', { expiresAt: EARLIER }, false],
    ['one that is effective from the booking on', { effectiveAt: NOON }, true],
    ['one that is not yet effective', { effectiveAt: LATER }, false],
    ['a voided one', { voidedAt: EARLIER }, false],
    ['an empty one', { remainingNano: 0n }, false],
  ])('%s: spendable is %s', (_case, changes, spendable) => {
    expect(isSpendable(aLot(changes), NOON)).toBe(spendable);
    expect(spendableLots([aLot(changes)], NOON)).toHaveLength(spendable ? 1 : 0);
  });
});
