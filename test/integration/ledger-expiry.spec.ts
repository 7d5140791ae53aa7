import { FixedClock } from '#libs/kernel/testing/fixed-clock.js';
import { BY_TEST, ledgerOn, receiptOf, type LedgerFixture } from '#libs/ledger/testing/ledger-fixture.js';
import { openTestDatabase, type TestDatabase } from '../support/database.js';
import { bookFrom, figuresOf, sequenceOf } from '../support/ledger-figures.js';

const GRANTED = new Date('2090-01-01T00:00:00.000Z');
const EXPIRES = new Date('2090-02-01T00:00:00.000Z');

describe('L4 expiry', () => {
  let database: TestDatabase;
  let ledger: LedgerFixture;
  let clock: FixedClock;

  beforeEach(async () => {
    database = await openTestDatabase();
    clock = new FixedClock(GRANTED);
    ledger = ledgerOn(database.db, clock);
  });
  afterEach(async () => {
    await database.close();
  });

  async function grantedUntil(tenantId: string, kind: 'paid' | 'promo'): Promise<string> {
    await bookFrom(database.db, tenantId, GRANTED);
    return (await ledger.grant({ tenantId, amountNano: 100n, kind, expiresAt: EXPIRES })).lot.lotId;
  }

  async function monthPasses(tenantId: string): Promise<void> {
    clock.set(EXPIRES);
    await bookFrom(database.db, tenantId, EXPIRES);
  }

  const spend = (tenantId: string, name: string, chargeNano: bigint) => ({
    tenantId,
    occurredAt: GRANTED,
    items: [{ eventId: name, provider: 'openai', costNano: 0n, chargeNano }],
    idemKey: name,
  });

  it('is burnt until the instant it expires, and from then on not, swept or not', async () => {
    const lotId = await grantedUntil('edge', 'paid');
    await bookFrom(database.db, 'edge', new Date(EXPIRES.getTime() - 1));
    await ledger.post(spend('edge', 'before', 10n));
    await monthPasses('edge');
    await ledger.post(spend('edge', 'after', 10n));
    const { lots, accounts } = await figuresOf(database.db, 'edge');
    expect(lots[lotId]).toBe(90n);
    expect(accounts['receivable']).toBe(-10n);
    const view = await ledger.readBalance.execute({ tenantId: 'edge', creditLimitNano: 0n });
    expect(view).toMatchObject({ postedNano: 80n, availableNano: -10n, lots: [] });
  });

  it.each([
    ['paid', 'revenue:breakage'],
    ['promo', 'promo:funding'],
  ] as const)('closes the rest of a %s lot against %s, once', async (kind, account) => {
    await grantedUntil('close', kind);
    await ledger.post(spend('close', 'some', 30n));
    const before = (await figuresOf(database.db, 'close')).accounts[account] ?? 0n;
    expect(await ledger.expireLots.execute()).toEqual({ closed: 0 });
    await monthPasses('close');
    expect(await Promise.all([ledger.expireLots.execute(), ledger.expireLots.execute()])).toContainEqual({ closed: 1 });
    expect(await ledger.expireLots.execute()).toEqual({ closed: 0 });
    const after = await figuresOf(database.db, 'close');
    expect((after.accounts[account] ?? 0n) - before).toBe(70n);
    expect(after.balance).toEqual({ lots_nano: 0n, receivable_nano: 0n });
    expect(await sequenceOf(database.db, 'close')).toEqual([1n, 2n, 3n]);
  });

  it('closes again what a reversal put back on an expired lot', async () => {
    const lotId = await grantedUntil('again', 'paid');
    const [posted] = await ledger.post(spend('again', 'e', 30n));
    await monthPasses('again');
    await ledger.expireLots.execute();
    await ledger.reverse({
      tenantId: 'again',
      eventId: 'e',
      transactionId: posted!.transactionId!,
      from: 0n,
      to: 30n,
      provider: 'openai',
      costNano: 0n,
      occurredAt: GRANTED,
      idemKey: 'r',
    });
    expect((await figuresOf(database.db, 'again')).lots[lotId]).toBe(30n);
    expect(await ledger.expireLots.execute()).toEqual({ closed: 1 });
    expect((await figuresOf(database.db, 'again')).accounts).toEqual({ 'clearing:manual': -100n, 'revenue:breakage': 100n });
  });

  it('gives back to cash what a reversal put back on a voided lot', async () => {
    const lotId = await grantedUntil('voided', 'paid');
    const [posted] = await ledger.post(spend('voided', 'e', 30n));
    receiptOf(await ledger.voidCredit.execute({ lotId, tenantId: 'voided', reason: null, by: BY_TEST, idempotency: null }));
    await ledger.reverse({
      tenantId: 'voided',
      eventId: 'e',
      transactionId: posted!.transactionId!,
      from: 0n,
      to: 30n,
      provider: 'openai',
      costNano: 0n,
      occurredAt: GRANTED,
      idemKey: 'r',
    });
    expect(await ledger.expireLots.execute()).toEqual({ closed: 1 });
    expect((await figuresOf(database.db, 'voided')).accounts).toEqual({});
  });

  it('sweeps more lots than one round holds', async () => {
    for (let tenant = 0; tenant < 41; tenant += 1) {
      await bookFrom(database.db, `t${tenant}`, GRANTED);
      for (let lot = 0; lot < 5; lot += 1) await ledger.grant({ tenantId: `t${tenant}`, amountNano: 1n, expiresAt: EXPIRES });
      await bookFrom(database.db, `t${tenant}`, EXPIRES);
    }
    clock.set(EXPIRES);
    expect(await ledger.expireLots.execute()).toEqual({ closed: 205 });
    expect((await ledger.reader.check()).drift).toEqual([]);
  });

  it('a lot that was just granted counts, also where the clock of the machine that reads is behind', async () => {
    await grantedUntil('behind', 'paid');
    clock.set('2020-01-01T00:00:00.000Z');
    expect(await ledger.readBalance.execute({ tenantId: 'behind', creditLimitNano: 0n })).toMatchObject({ availableNano: 100n, asOf: GRANTED });
  });

  it('is decided by the booking time: a clock that runs ahead expires nothing', async () => {
    const lotId = await grantedUntil('ahead', 'paid');
    clock.set('2190-01-01T00:00:00.000Z');
    expect(await ledger.expireLots.execute()).toEqual({ closed: 0 });
    expect((await figuresOf(database.db, 'ahead')).lots[lotId]).toBe(100n);
  });
});
