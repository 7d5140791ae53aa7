import { aLot } from '../testing/lot-builder.js';
import { planClosing, planCollection, planGrant } from './lot-plan.js';

const NOON = new Date('2026-11-22T12:00:00.000Z');
const LOT = 'lot:00000000-0000-7000-8000-000000000001';

describe('L7 promo credit never touches cash', () => {
  it('is granted, voided and expired against promo:funding', () => {
    const promo = aLot({ kind: 'promo', expiresAt: NOON });
    expect(planGrant(promo.lotId, 'promo', 7n)).toEqual({ debit: 'promo:funding', credit: LOT, amountNano: 7n });
    expect(planClosing(promo, NOON)).toEqual({ kind: 'expiry', transfer: { debit: LOT, credit: 'promo:funding', amountNano: 100n } });
    expect(planClosing({ ...promo, voidedAt: NOON }, NOON)).toEqual({ kind: 'void', transfer: { debit: LOT, credit: 'promo:funding', amountNano: 100n } });
  });
});

describe('paid credit', () => {
  it('comes from clearing, goes back to clearing when voided, and is breakage when it expires', () => {
    const paid = aLot({ remainingNano: 40n });
    expect(planGrant(paid.lotId, 'paid', 7n)).toEqual({ debit: 'clearing:manual', credit: LOT, amountNano: 7n });
    expect(planClosing({ ...paid, expiresAt: NOON }, NOON)).toEqual({ kind: 'expiry', transfer: { debit: LOT, credit: 'revenue:breakage', amountNano: 40n } });
    expect(planClosing({ ...paid, expiresAt: NOON, voidedAt: NOON }, NOON)).toEqual({
      kind: 'void',
      transfer: { debit: LOT, credit: 'clearing:manual', amountNano: 40n },
    });
  });

  it('stays while it is neither void nor expired, and closes once only', () => {
    expect(planClosing(aLot({ expiresAt: new Date(NOON.getTime() + 1) }), NOON)).toBeNull();
    expect(planClosing(aLot({ expiresAt: NOON, remainingNano: 0n }), NOON)).toBeNull();
  });

  it('collects the debt as far as the lot reaches, and nothing where nothing is owed', () => {
    expect(planCollection('x', 10n, 4n)).toEqual({ debit: 'lot:x', credit: 'receivable', amountNano: 4n });
    expect(planCollection('x', 10n, 40n)).toEqual({ debit: 'lot:x', credit: 'receivable', amountNano: 10n });
    expect(planCollection('x', 10n, 0n)).toBeNull();
    expect(planCollection('x', 10n, -4n)).toBeNull();
  });
});
