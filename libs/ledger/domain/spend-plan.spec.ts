import fc from 'fast-check';
import { aLot } from '../testing/lot-builder.js';
import { planReversal, slicesOf } from './reversal-plan.js';
import { movesMoney, planSpend, totalSpend, type SpendItem } from './spend-plan.js';
import { balanceChange, type Transfer } from './transfer.js';

const AT = new Date('2026-11-22T12:00:00.000Z');

const anyItems: fc.Arbitrary<SpendItem[]> = fc
  .array(
    fc.record({ provider: fc.constantFrom('openai', 'anthropic'), costNano: fc.bigInt({ min: 0n, max: 9n }), chargeNano: fc.bigInt({ min: 0n, max: 9n }) }),
    { maxLength: 8 },
  )
  .map((items) => items.map((item, index) => ({ ...item, eventId: `event-${index}` })));
const anyLots = fc
  .array(fc.record({ kind: fc.constantFrom('paid' as const, 'promo' as const), remainingNano: fc.bigInt({ min: 0n, max: 12n }) }), { maxLength: 4 })
  .map((lots) => lots.map((lot, index) => aLot({ ...lot, priority: index, lotId: `lot${index}` })));

/** One coin per nano-USD, in the order in which coins are handed over. */
function coinsOf(lots: readonly { lotId: string; kind: string; remainingNano: bigint }[], chargeNano: bigint): string[] {
  const purse = lots.flatMap((lot) => coins(`lot:${lot.lotId}>${lot.kind === 'paid' ? 'revenue:usage' : 'promo:funding'}`, lot.remainingNano));
  return take([...purse, ...coins('receivable>revenue:overage', chargeNano)], chargeNano);
}

function coinsIn(transfers: readonly Transfer[]): string[] {
  return transfers.filter((line) => !line.debit.startsWith('cost:')).flatMap((line) => coins(`${line.debit}>${line.credit}`, line.amountNano));
}

function coins(label: string, amountNano: bigint): string[] {
  const made: string[] = [];
  for (let coin = 0n; coin < amountNano; coin += 1n) made.push(label);
  return made;
}

/** Removes the first coins of a heap. */
function take(heap: string[], amountNano: bigint): string[] {
  return coins('', amountNano).flatMap(() => heap.shift() ?? []);
}

function net(transfers: readonly Transfer[]): Map<string, bigint> {
  const book = new Map<string, bigint>();
  for (const { debit, credit, amountNano } of transfers) {
    book.set(debit, (book.get(debit) ?? 0n) - amountNano);
    book.set(credit, (book.get(credit) ?? 0n) + amountNano);
  }
  return new Map([...book].filter(([, value]) => value !== 0n));
}

describe('L5 burn slices', () => {
  it('take coin by coin what a hand count takes, and give each event its own coins', () => {
    fc.assert(
      fc.property(anyItems, anyLots, (items, lots) => {
        const totals = totalSpend(items);
        const transfers = planSpend(totals, lots, AT);
        const heap = coinsOf(lots, totals.chargeNano);
        expect(coinsIn(transfers)).toEqual(heap);
        for (const item of items) {
          expect(coinsIn(slicesOf(transfers, totals.intervals.get(item.eventId)!))).toEqual(take(heap, item.chargeNano));
        }
      }),
    );
  });

  it('are undone exactly by reversing every event, in any order', () => {
    fc.assert(
      fc.property(
        anyItems.chain((items) => fc.tuple(fc.constant(items), fc.shuffledSubarray(items, { minLength: items.length }))),
        anyLots,
        ([items, shuffled], lots) => {
          const totals = totalSpend(items);
          const posted = planSpend(totals, lots, AT);
          const reversed = shuffled.flatMap((item) => planReversal(posted, totals.intervals.get(item.eventId)!, item.provider, item.costNano));
          expect(net([...posted, ...reversed])).toEqual(new Map());
          const whole = balanceChange(posted);
          expect(balanceChange(reversed)).toEqual({ lotsNano: -whole.lotsNano, receivableNano: -whole.receivableNano });
        },
      ),
    );
  });
});

describe('a batch', () => {
  const item = { eventId: 'a', provider: 'openai', costNano: 0n, chargeNano: 0n };

  it('moves nothing when cost and charge are zero', () => {
    expect(movesMoney(totalSpend([item]))).toBe(false);
    expect(movesMoney(totalSpend([{ ...item, costNano: 1n }]))).toBe(true);
    expect(movesMoney(totalSpend([{ ...item, chargeNano: 1n }]))).toBe(true);
  });

  it('is refused with a negative figure, with an event twice, and beyond 9e15 nano-USD', () => {
    expect(() => totalSpend([{ ...item, chargeNano: -1n }])).toThrow('never negative');
    expect(() => totalSpend([{ ...item, costNano: -1n }])).toThrow('never negative');
    expect(() => totalSpend([item, item])).toThrow('twice');
    const half = 4_500_000_000_000_000n;
    expect(
      totalSpend([
        { ...item, chargeNano: half },
        { ...item, eventId: 'b', chargeNano: half },
      ]).chargeNano,
    ).toBe(2n * half);
    expect(() =>
      totalSpend([
        { ...item, chargeNano: half },
        { ...item, eventId: 'b', chargeNano: half + 1n },
      ]),
    ).toThrow('9,000,000');
  });
});

describe('a reversal', () => {
  const posted: Transfer[] = [
    { debit: 'lot:a', credit: 'revenue:usage', amountNano: 5n },
    { debit: 'receivable', credit: 'revenue:overage', amountNano: 5n },
    { debit: 'cost:openai', credit: 'payable:openai', amountNano: 4n },
  ];

  it('moves the last slice back first', () => {
    expect(planReversal(posted, { from: 3n, to: 7n }, 'openai', 1n)).toEqual([
      { debit: 'revenue:overage', credit: 'receivable', amountNano: 2n },
      { debit: 'revenue:usage', credit: 'lot:a', amountNano: 2n },
      { debit: 'payable:openai', credit: 'cost:openai', amountNano: 1n },
    ]);
  });

  it('is refused outside what was recorded', () => {
    expect(() => planReversal(posted, { from: 3n, to: 11n }, 'openai', 0n)).toThrow('not inside');
    expect(() => planReversal(posted, { from: 7n, to: 3n }, 'openai', 0n)).toThrow('before it begins');
    expect(() => planReversal(posted, { from: 0n, to: 1n }, 'openai', 5n)).toThrow('no 5 nano-USD of cost');
    expect(() => planReversal(posted, { from: 0n, to: 1n }, 'anthropic', 1n)).toThrow('no 1 nano-USD of cost');
  });
});
