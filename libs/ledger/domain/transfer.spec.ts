import { accountKind } from './account-code.js';
import { balanceChange, transfer } from './transfer.js';

describe('L1 a transfer', () => {
  it('moves a positive amount of at most 9e15 between two accounts', () => {
    expect(transfer('receivable', 'revenue:overage', 9_000_000_000_000_000n).amountNano).toBe(9_000_000_000_000_000n);
    expect(() => transfer('receivable', 'revenue:overage', 0n)).toThrow('out of range');
    expect(() => transfer('receivable', 'revenue:overage', -1n)).toThrow('out of range');
    expect(() => transfer('receivable', 'revenue:overage', 9_000_000_000_000_001n)).toThrow('out of range');
    expect(() => transfer('receivable', 'receivable', 1n)).toThrow('moves nothing');
  });

  it('raises lots when they are credited and the receivable when it is debited', () => {
    expect(
      balanceChange([transfer('clearing:manual', 'lot:a', 10n), transfer('lot:a', 'receivable', 4n), transfer('receivable', 'revenue:overage', 1n)]),
    ).toEqual({
      lotsNano: 6n,
      receivableNano: -3n,
    });
  });
});

describe('the chart of accounts', () => {
  it.each([
    ['lot:x', 'liability'],
    ['payable:openai', 'liability'],
    ['cost:openai', 'expense'],
    ['variance:adjustment', 'expense'],
    ['receivable', 'asset'],
    ['clearing:manual', 'asset'],
    ['revenue:usage', 'income'],
    ['promo:funding', 'income'],
  ])('knows %s as %s', (code, kind) => {
    expect(accountKind(code)).toBe(kind);
  });

  it('refuses a code that is not in it', () => {
    expect(() => accountKind('revenue:luck')).toThrow('chart of accounts');
  });
});
