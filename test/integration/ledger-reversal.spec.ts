import fc from 'fast-check';
import { FixedClock } from '#libs/kernel/testing/fixed-clock.js';
import { ledgerOn } from '#libs/ledger/testing/ledger-fixture.js';
import type { SpendPosted, SpendReversal } from '#libs/ledger/index.js';
import { openTestDatabase, type TestDatabase } from '../support/database.js';
import { figuresOf } from '../support/ledger-figures.js';

const OCCURRED = new Date('2026-11-22T11:59:00.000Z');

describe('L5 a reversal restores every account exactly', () => {
  let database: TestDatabase;
  let ledger: ReturnType<typeof ledgerOn>;
  let tenants = 0;

  beforeAll(async () => {
    database = await openTestDatabase();
    ledger = ledgerOn(database.db, new FixedClock());
  });
  afterAll(async () => {
    await database.close();
  });

  /** Two lots of 50 and 30, and 20 events of 7 each: 80 from lots, 60 from the receivable. */
  async function postAcrossLotsAndReceivable(without: number | null) {
    tenants += 1;
    const tenantId = `l5-${tenants}`;
    await ledger.grant({ tenantId, amountNano: 50n, kind: 'promo', priority: 10 });
    await ledger.grant({ tenantId, amountNano: 30n, kind: 'paid', priority: 20 });
    const before = await figuresOf(database.db, tenantId);
    const items = Array.from({ length: 20 }, (_, index) => ({
      eventId: `e${index}`,
      provider: index % 2 === 0 ? 'openai' : 'anthropic',
      costNano: BigInt(index),
      chargeNano: 7n,
    }));
    const [posted] = await ledger.post({ tenantId, occurredAt: OCCURRED, items: items.filter((_, index) => index !== without), idemKey: 'batch' });
    return { tenantId, before, items, posted: posted! };
  }

  function reversalOf(posted: SpendPosted, item: { eventId: string; provider: string; costNano: bigint }): SpendReversal {
    const interval = posted.intervals.get(item.eventId)!;
    return {
      ...interval,
      tenantId: posted.tenantId,
      eventId: item.eventId,
      transactionId: posted.transactionId!,
      provider: item.provider,
      costNano: item.costNano,
      occurredAt: OCCURRED,
      idemKey: `reverse:${item.eventId}`,
    };
  }

  it('one random event out of a batch across two lots and the receivable gives back its own slices and cost, and nothing else', async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat({ max: 19 }), async (pick) => {
        const { tenantId, items, posted } = await postAcrossLotsAndReceivable(null);
        const booked = await figuresOf(database.db, tenantId);
        const item = items[pick]!;
        await ledger.reverse(reversalOf(posted, item));
        const after = await figuresOf(database.db, tenantId);

        // By hand: event i owns the coins [7i, 7i+7); the promo lot holds coins below 50, the paid lot those below 80.
        const start = 7 * pick;
        const promo = BigInt(Math.max(0, Math.min(50, start + 7) - start));
        const debt = BigInt(Math.max(0, start + 7 - Math.max(80, start)));
        const paid = 7n - promo - debt;
        const moved = (code: string): bigint => (after.accounts[code] ?? 0n) - (booked.accounts[code] ?? 0n);
        expect(moved('promo:funding')).toBe(-promo);
        expect(moved('revenue:usage')).toBe(-paid);
        expect(moved('revenue:overage')).toBe(-debt);
        expect(moved('receivable')).toBe(debt);
        expect(moved(`cost:${item.provider}`)).toBe(item.costNano);
        expect(moved(`payable:${item.provider}`)).toBe(-item.costNano);
        const given = Object.keys(after.lots).map((lot) => after.lots[lot]! - booked.lots[lot]!);
        expect(given).toEqual([promo, paid]);
      }),
      { numRuns: 20 },
    );
  });

  it('reversing all events, in any order and in any grouping, returns to the start', async () => {
    await fc.assert(
      fc.asyncProperty(fc.shuffledSubarray([...Array(20).keys()], { minLength: 20 }), fc.integer({ min: 1, max: 20 }), async (order, groupSize) => {
        const { tenantId, before, items, posted } = await postAcrossLotsAndReceivable(null);
        for (let start = 0; start < order.length; start += groupSize) {
          await ledger.reverse(...order.slice(start, start + groupSize).map((index) => reversalOf(posted, items[index]!)));
        }
        expect(await figuresOf(database.db, tenantId)).toEqual(before);
      }),
      { numRuns: 8 },
    );
  });

  it('uses the recorded slices, not the burn order of the day', async () => {
    const { tenantId, items, posted } = await postAcrossLotsAndReceivable(null);
    const booked = await figuresOf(database.db, tenantId);
    await ledger.grant({ tenantId, amountNano: 500n, kind: 'promo', priority: 0 });
    const granted = await figuresOf(database.db, tenantId);
    const first = reversalOf(posted, items[0]!);
    await ledger.reverse(first);
    const after = await figuresOf(database.db, tenantId);
    const [firstLot] = Object.keys(booked.lots).filter((lot) => after.lots[lot] !== granted.lots[lot]);
    expect(after.lots[firstLot!]).toBe(7n);
    expect(Object.values(after.lots).reduce((sum, left) => sum + left, 0n)).toBe(507n);
  });

  it('an event leaves its transaction once: a second reversal under another key is refused and moves nothing', async () => {
    const { tenantId, items, posted } = await postAcrossLotsAndReceivable(null);
    const reversal = reversalOf(posted, items[3]!);
    await ledger.reverse(reversal);
    const after = await figuresOf(database.db, tenantId);
    await expect(ledger.reverse({ ...reversal, idemKey: 'another key' })).rejects.toMatchObject({ code: 'ledger.already_booked' });
    expect(await figuresOf(database.db, tenantId)).toEqual(after);
  });

  it("another tenant's transaction is refused", async () => {
    const { items, posted } = await postAcrossLotsAndReceivable(null);
    await expect(ledger.reverse({ ...reversalOf(posted, items[0]!), tenantId: 'l5-other' })).rejects.toThrow('not one of tenant');
    expect((await figuresOf(database.db, 'l5-other')).accounts).toEqual({});
  });

  it('an event that moved nothing is reversed without a transaction', async () => {
    const [posted] = await ledger.post({
      tenantId: 'l5-free',
      occurredAt: OCCURRED,
      items: [{ eventId: 'free', provider: 'openai', costNano: 0n, chargeNano: 0n }],
      idemKey: 'batch',
    });
    expect(posted).toMatchObject({ transactionId: null, tenantSeq: null, balance: { seq: 0n, lotsNano: 0n, receivableNano: 0n } });
    const [reversed] = await ledger.reverse({
      tenantId: 'l5-free',
      eventId: 'free',
      transactionId: '00000000-0000-7000-8000-000000000000',
      from: 0n,
      to: 0n,
      provider: 'openai',
      costNano: 0n,
      occurredAt: OCCURRED,
      idemKey: 'r',
    });
    expect(reversed).toMatchObject({ eventId: 'free', transactionId: null });
    expect(await database.db.query('SELECT FROM ledger.transaction WHERE tenant_id = $1', ['l5-free'])).toEqual([]);
  });
});
