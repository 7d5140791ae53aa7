import fc from 'fast-check';
import { digest128 } from '#libs/kernel/index.js';
import { FixedClock } from '#libs/kernel/testing/fixed-clock.js';
import { BY_TEST, ledgerOn, receiptOf, type LedgerFixture } from '#libs/ledger/testing/ledger-fixture.js';
import { openTestDatabase, type TestDatabase } from '../support/database.js';
import { OracleLedger } from '../support/ledger-oracle.js';

/** Later than the machine's clock, so that the booking time is what the test says and nothing else. */
const START = Date.parse('2090-01-01T00:00:00.000Z');
const MINUTE = 60_000;

interface Posted {
  transactionId: string | null;
  from: bigint;
  to: bigint;
}

interface Real {
  readonly ledger: LedgerFixture;
  readonly database: TestDatabase;
  readonly clock: FixedClock;
  readonly tenantId: string;
  readonly posted: Map<string, Posted>;
  readonly keys: { key: string; amount: bigint; answer: string }[];
  counter: number;
}

type Command = fc.AsyncCommand<OracleLedger, Real>;

let database: TestDatabase;
beforeAll(async () => {
  database = await openTestDatabase();
});
afterAll(async () => {
  await database.close();
});

/** Every figure the database keeps about the tenant, beside what the oracle says. */
async function expectSame(model: OracleLedger, real: Real): Promise<void> {
  const { db } = real.database;
  const accounts = await db.query<{ code: string; net: bigint }>(
    `SELECT code, credits - debits AS net FROM ledger.account JOIN ledger.account_balance USING (account_id) WHERE tenant_id = $1 AND credits <> debits`,
    [real.tenantId],
  );
  const lots = await db.query<{ lot_id: string; remaining_nano: bigint }>('SELECT lot_id, remaining_nano FROM ledger.lot WHERE tenant_id = $1', [
    real.tenantId,
  ]);
  const [balance] = await db.query<{ seq: bigint; lots_nano: bigint; receivable_nano: bigint }>(
    'SELECT seq, lots_nano, receivable_nano FROM ledger.tenant_balance WHERE tenant_id = $1',
    [real.tenantId],
  );
  expect(Object.fromEntries(accounts.map((row) => [row.code, row.net]))).toEqual(model.accounts());
  expect(Object.fromEntries(lots.map((row) => [row.lot_id, row.remaining_nano]))).toEqual(Object.fromEntries(model.lots.map((lot) => [lot.id, lot.left])));
  expect(balance).toEqual({ seq: BigInt(model.transactions), lots_nano: model.lotsTotal(), receivable_nano: model.receivable() });
  expect(accounts.reduce((sum, row) => sum + row.net, 0n)).toBe(0n);
}

function command(
  name: string,
  run: (model: OracleLedger, real: Real) => Promise<void>,
  check: (model: Readonly<OracleLedger>) => boolean = () => true,
): Command {
  return {
    check,
    run: async (model, real) => {
      await run(model, real);
      await expectSame(model, real);
    },
    toString: () => name,
  };
}

// Grants and charges of one size: lots stand side by side for a while, run out, and debts are small enough to be collected whole.
const amount = fc.bigInt({ min: 1n, max: 60n });

const grant = fc
  .record({
    kind: fc.constantFrom('paid' as const, 'promo' as const),
    amount,
    // Few values, so that lots often tie and the later rules of the burn order decide.
    priority: fc.constantFrom(10, 50),
    expiresIn: fc.constantFrom(null, null, 2, 4),
    collect: fc.boolean(),
    keyed: fc.boolean(),
  })
  .map((input) =>
    command(`grant(${input.kind} ${input.amount} p${input.priority} ${input.expiresIn}m ${input.collect} ${input.keyed})`, async (model, real) => {
      const expires = input.expiresIn === null ? null : model.now + input.expiresIn * MINUTE;
      real.counter += 1;
      const key = `key-${real.counter}`;
      let answer = '';
      const { lot } = await real.ledger.grant({
        tenantId: real.tenantId,
        amountNano: input.amount,
        kind: input.kind,
        priority: input.priority,
        expiresAt: expires === null ? null : new Date(expires),
        collectReceivable: input.collect,
        idempotency: input.keyed
          ? { key, fingerprint: digest128(String(input.amount)), present: (receipt) => (answer = `${key} made ${receipt.lot.lotId}`) }
          : null,
      });
      if (input.keyed) real.keys.push({ key, amount: input.amount, answer });
      model.grant({ id: lot.lotId, kind: input.kind, amount: input.amount, priority: input.priority, expires }, input.collect);
    }),
  );

const post = fc
  .array(fc.record({ charge: fc.bigInt({ min: 0n, max: 20n }), cost: fc.bigInt({ min: 0n, max: 30n }), provider: fc.constantFrom('openai', 'anthropic') }), {
    minLength: 1,
    maxLength: 4,
  })
  .map((items) =>
    command(`post(${items.map((item) => `${item.charge}/${item.cost}`).join(' ')})`, async (model, real) => {
      real.counter += 1;
      const named = items.map((item, index) => ({ ...item, id: `event-${real.counter}-${index}` }));
      const [posted] = await real.ledger.post({
        tenantId: real.tenantId,
        occurredAt: new Date(model.now - MINUTE),
        items: named.map((item) => ({ eventId: item.id, provider: item.provider, costNano: item.cost, chargeNano: item.charge })),
        idemKey: `batch-${real.counter}`,
      });
      model.post(named);
      for (const [eventId, interval] of posted!.intervals) real.posted.set(eventId, { transactionId: posted!.transactionId, ...interval });
      expect(posted!.balance).toEqual({
        tenantId: real.tenantId,
        seq: BigInt(model.transactions),
        lotsNano: model.lotsTotal(),
        receivableNano: model.receivable(),
      });
    }),
  );

const reverse = fc.nat().map((pick) =>
  command(
    `reverse(${pick})`,
    async (model, real) => {
      const open = model.events.filter((event) => !event.reversed);
      const event = open[pick % open.length]!;
      const { transactionId, from, to } = real.posted.get(event.id)!;
      await real.ledger.reverse({
        tenantId: real.tenantId,
        eventId: event.id,
        transactionId: transactionId ?? '00000000-0000-7000-8000-000000000000',
        from,
        to,
        provider: event.provider,
        costNano: event.cost,
        occurredAt: new Date(model.now),
        idemKey: `reverse-${event.id}`,
      });
      model.reverse(event);
    },
    (model) => model.events.some((event) => !event.reversed),
  ),
);

const voidLot = fc.nat().map((pick) =>
  command(
    `void(${pick})`,
    async (model, real) => {
      const open = model.lots.filter((lot) => !lot.voided);
      const lot = open[pick % open.length]!;
      const receipt = receiptOf(await real.ledger.voidCredit.execute({ lotId: lot.id, tenantId: real.tenantId, reason: null, by: BY_TEST, idempotency: null }));
      expect(receipt.voidedNano).toBe(lot.left);
      model.void(lot);
    },
    (model) => model.lots.some((lot) => !lot.voided),
  ),
);

const adjust = fc
  .oneof(
    amount,
    amount.map((value) => -value),
  )
  .map((signed) =>
    command(`adjust(${signed})`, async (model, real) => {
      const receipt = receiptOf(
        await real.ledger.adjustBalance.execute({ tenantId: real.tenantId, amountNano: signed, reason: 'model test', by: BY_TEST, idempotency: null }),
      );
      model.adjust(signed, receipt.lotId ?? 'none');
    }),
  );

const pass = fc.integer({ min: 1, max: 3 }).map((minutes) =>
  command(`pass(${minutes}m)`, async (model, real) => {
    model.now += minutes * MINUTE;
    real.clock.set(new Date(model.now));
    await setBookingTime(real, model.now);
  }),
);

const expire = fc.constant(
  command('expire', async (model, real) => {
    await real.ledger.expireLots.execute();
    model.expire();
    expect(await real.ledger.expireLots.execute()).toEqual({ closed: 0 });
  }),
);

const repeat = fc.tuple(fc.nat(), fc.boolean()).map(([pick, sameBody]) =>
  command(`repeat(${pick} ${sameBody})`, async (_model, real) => {
    const used = real.keys[pick % Math.max(real.keys.length, 1)];
    if (used === undefined) return;
    const again = real.ledger.grantCredit.execute({
      tenantId: real.tenantId,
      amountNano: used.amount,
      kind: 'paid',
      expiresAt: null,
      priority: null,
      reference: null,
      collectReceivable: true,
      by: BY_TEST,
      idempotency: { key: used.key, fingerprint: digest128(sameBody ? String(used.amount) : 'another body'), present: () => 'never asked' },
    });
    if (sameBody) expect(await again).toEqual({ outcome: 'replayed', answer: used.answer });
    else await expect(again).rejects.toMatchObject({ code: 'idempotency.conflict' });
  }),
);

async function setBookingTime(real: Real, at: number): Promise<void> {
  await real.database.db.execute(
    'INSERT INTO ledger.tenant_balance (tenant_id, booked_at) VALUES ($1, $2) ON CONFLICT (tenant_id) DO UPDATE SET booked_at = excluded.booked_at',
    [real.tenantId, new Date(at)],
  );
}

describe('the ledger against a naive oracle', () => {
  let run = 0;

  it('keeps every account, lot and balance equal to the oracle after each command', async () => {
    const commands = fc.commands(
      [grant, grant, grant, grant, post, post, post, post, reverse, reverse, reverse, voidLot, adjust, adjust, pass, expire, repeat],
      // 'max': by default a sequence is about five commands long, too short for a debt to be made, collected and then reversed.
      { maxCommands: 40, size: 'max' },
    );
    await fc.assert(
      fc.asyncProperty(commands, async (list) => {
        run += 1;
        const clock = new FixedClock(new Date(START));
        const real: Real = { ledger: ledgerOn(database.db, clock), database, clock, tenantId: `model-${run}`, posted: new Map(), keys: [], counter: 0 };
        await setBookingTime(real, START);
        await fc.asyncModelRun(() => ({ model: new OracleLedger(START), real }), list);
      }),
      { numRuns: 60 },
    );
    expect((await ledgerOn(database.db, new FixedClock()).reader.check()).drift).toEqual([]);
  }, 120_000);
});
