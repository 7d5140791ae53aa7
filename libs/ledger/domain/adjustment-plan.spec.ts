import { aLot } from '../testing/lot-builder.js';
import { planAdjustment } from './adjustment-plan.js';

const AT = new Date('2026-11-22T12:00:00.000Z');
const base = { lots: [], receivableNano: 0n, at: AT, newLotId: 'new' };

describe('an adjustment', () => {
  it('pays a debt before it makes credit', () => {
    expect(planAdjustment({ ...base, amountNano: 10n, receivableNano: 4n })).toEqual({
      transfers: [
        { debit: 'variance:adjustment', credit: 'receivable', amountNano: 4n },
        { debit: 'variance:adjustment', credit: 'lot:new', amountNano: 6n },
      ],
      creditedNano: 6n,
    });
  });

  it('makes no credit while the debt takes it all', () => {
    expect(planAdjustment({ ...base, amountNano: 4n, receivableNano: 4n })).toEqual({
      transfers: [{ debit: 'variance:adjustment', credit: 'receivable', amountNano: 4n }],
      creditedNano: 0n,
    });
  });

  it('does not lower a receivable that is negative already', () => {
    expect(planAdjustment({ ...base, amountNano: 4n, receivableNano: -9n })).toEqual({
      transfers: [{ debit: 'variance:adjustment', credit: 'lot:new', amountNano: 4n }],
      creditedNano: 4n,
    });
  });

  it('burns lots like usage when it takes, without making income of it', () => {
    expect(planAdjustment({ ...base, amountNano: -130n, lots: [aLot({ lotId: 'a' }), aLot({ lotId: 'b', kind: 'promo', remainingNano: 20n })] })).toEqual({
      transfers: [
        { debit: 'lot:b', credit: 'variance:adjustment', amountNano: 20n },
        { debit: 'lot:a', credit: 'variance:adjustment', amountNano: 100n },
        { debit: 'receivable', credit: 'variance:adjustment', amountNano: 10n },
      ],
      creditedNano: 0n,
    });
  });
});
