import fc from 'fast-check';
import { balanceAlert, type LevelChange } from './balance-level.js';

const USD = 1_000_000_000n;
const LOT = '019aab00-0000-7000-8000-000000000001';
const change = (beforeNano: bigint | null, afterNano: bigint, over: Partial<LevelChange> = {}): LevelChange => ({
  tenantId: 'acme',
  beforeNano,
  afterNano,
  credit: { grantedNano: 100n * USD, newestLotId: LOT },
  at: new Date('2026-11-22T12:00:00Z'),
  ...over,
});

describe('balanceAlert', () => {
  it('is low below a fifth of the recent credit, not at it', () => {
    expect(balanceAlert(change(21n * USD, 20n * USD))).toBeNull();
    expect(balanceAlert(change(20n * USD, 20n * USD - 1n))).toMatchObject({
      kind: 'balance.low',
      severity: 'warning',
      dedupKey: LOT,
      subject: { available_usd: '19.999999999', low_below_usd: '20.000000000', newest_lot_id: `lot_${LOT}` },
    });
  });

  it('is exhausted at nothing, and that alone is told when both lines are crossed at once', () => {
    expect(balanceAlert(change(5n * USD, 1n))).toBeNull();
    expect(balanceAlert(change(5n * USD, 0n))).toMatchObject({ kind: 'balance.exhausted', severity: 'critical' });
    expect(balanceAlert(change(50n * USD, -3n * USD))).toMatchObject({ kind: 'balance.exhausted' });
  });

  it('says nothing further down, nor on the way up', () => {
    expect(balanceAlert(change(19n * USD, 10n * USD))).toBeNull();
    expect(balanceAlert(change(-1n * USD, -2n * USD))).toBeNull();
    expect(balanceAlert(change(10n * USD, 30n * USD))).toBeNull();
  });

  it('with nothing known before, says where the balance is', () => {
    expect(balanceAlert(change(null, 10n * USD))?.kind).toBe('balance.low');
    expect(balanceAlert(change(null, 0n))?.kind).toBe('balance.exhausted');
    expect(balanceAlert(change(null, 50n * USD))).toBeNull();
  });

  it('a tenant that was never granted anything is never low', () => {
    const credit = { grantedNano: 0n, newestLotId: null };
    expect(balanceAlert(change(0n, -1n * USD, { credit }))).toBeNull();
    expect(balanceAlert(change(5n * USD, 1n, { credit }))).toBeNull();
    expect(balanceAlert(change(5n * USD, 0n, { credit }))?.kind).toBe('balance.exhausted');
  });

  it('any way down to nothing in any steps tells exhausted once, and low at most once before it', () => {
    fc.assert(
      fc.property(fc.array(fc.bigInt({ min: 1n, max: 60n * USD }), { minLength: 1, maxLength: 40 }), (steps) => {
        let balance = 100n * USD;
        const told: string[] = [];
        for (const step of [...steps, 100n * USD]) {
          const alert = balanceAlert(change(balance, balance - step));
          balance -= step;
          if (alert) told.push(alert.kind);
        }
        expect([['balance.exhausted'], ['balance.low', 'balance.exhausted']]).toContainEqual(told);
      }),
    );
  });
});
