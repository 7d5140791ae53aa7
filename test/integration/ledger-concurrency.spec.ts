import { digest128 } from '#libs/kernel/index.js';
import { FixedClock } from '#libs/kernel/testing/fixed-clock.js';
import { Database } from '#libs/platform/postgres/database.js';
import { APP_ROLE } from '#libs/platform/postgres/migrator.js';
import { BY_TEST, ledgerOn, type LedgerFixture } from '#libs/ledger/testing/ledger-fixture.js';
import { SpendLedger, type TenantSpend } from '#libs/ledger/index.js';
import { openTestDatabase, type TestDatabase } from '../support/database.js';
import { figuresOf, sequenceOf } from '../support/ledger-figures.js';

const OCCURRED = new Date('2026-11-22T11:59:00.000Z');

function batch(tenantId: string, name: string, chargeNano: bigint): TenantSpend {
  return { tenantId, occurredAt: OCCURRED, items: [{ eventId: `${name}-event`, provider: 'openai', costNano: 3n, chargeNano }], idemKey: name };
}

describe('many writers on one ledger', () => {
  let database: TestDatabase;
  let db: Database;
  let ledgers: LedgerFixture[];

  beforeAll(async () => {
    database = await openTestDatabase();
    // Room for every writer, and patience with a busy machine: who waits for a connection is not what is tested here.
    db = new Database({ connectionString: database.url, maxConnections: 20, role: APP_ROLE, applicationName: 'test-writers', connectTimeoutMs: 60_000 });
    // Several fixtures are several processes: each has its own cache of account numbers.
    ledgers = Array.from({ length: 4 }, () => ledgerOn(db, new FixedClock()));
  });
  afterAll(async () => {
    await db.close();
    await database.close();
  });

  const ledger = (index: number): LedgerFixture => ledgers[index % ledgers.length]!;
  const drift = async () => (await ledger(0).reader.check()).drift;

  it('L1 L2 20 grants and 20 posts at once on one new tenant keep every balance exact and the numbers without gaps', async () => {
    const tenantId = 'hot';
    const grants = Array.from({ length: 20 }, async (_, index) => await ledger(index).grant({ tenantId, amountNano: 100n, collectReceivable: false }));
    const posts = Array.from({ length: 20 }, async (_, index) => await ledger(index).post(batch(tenantId, `b${index}`, 150n)));
    await Promise.all([...grants, ...posts]);

    const { accounts, balance } = await figuresOf(db, tenantId);
    const { lots_nano: lots, receivable_nano: receivable } = balance as { lots_nano: bigint; receivable_nano: bigint };
    expect(lots - receivable).toBe(20n * 100n - 20n * 150n);
    expect(accounts['clearing:manual']).toBe(-2_000n);
    expect((accounts['revenue:usage'] ?? 0n) + (accounts['revenue:overage'] ?? 0n)).toBe(3_000n);
    expect(accounts['payable:openai']).toBe(60n);
    expect(await sequenceOf(db, tenantId)).toEqual(Array.from({ length: 40 }, (_, index) => BigInt(index + 1)));
    expect(await drift()).toEqual([]);
  });

  it('L2 calls over many tenants in opposite orders neither deadlock nor lose a batch', async () => {
    const names = Array.from({ length: 30 }, (_, index) => `many-${index}`);
    await Promise.all(
      Array.from({ length: 12 }, async (_, call) => {
        const order = call % 2 === 0 ? names : names.toReversed();
        const posted = await ledger(call).post(...order.map((tenantId) => batch(tenantId, `call-${call}`, 5n)));
        expect(posted.map((one) => one.tenantId)).toEqual(order);
      }),
    );
    for (const tenantId of names) expect(await sequenceOf(db, tenantId)).toHaveLength(12);
    expect(await drift()).toEqual([]);
  });

  it('T1 booked_at never goes back within a tenant', async () => {
    const rows = await db.query<{ backwards: bigint }>(
      'SELECT count(*) AS backwards FROM ledger.transaction a JOIN ledger.transaction b ON a.tenant_id = b.tenant_id AND a.tenant_seq < b.tenant_seq AND a.booked_at > b.booked_at',
    );
    expect(rows).toEqual([{ backwards: 0n }]);
  });

  it('L6 of 20 equal requests at once under one key one moves money and all get the same answer', async () => {
    const tenantId = 'same-key';
    const answers = await Promise.all(
      Array.from({ length: 20 }, async (_, index) => {
        const once = await ledger(index).grantCredit.execute({
          tenantId,
          amountNano: 7n,
          kind: 'paid',
          expiresAt: null,
          priority: null,
          reference: null,
          collectReceivable: true,
          by: BY_TEST,
          idempotency: { key: 'top-up-1', fingerprint: digest128('7'), present: (receipt) => receipt.lot.lotId },
        });
        return once.outcome === 'done' ? once.receipt.lot.lotId : once.answer;
      }),
    );
    expect(new Set(answers).size).toBe(1);
    expect((await figuresOf(db, tenantId)).balance).toEqual({ lots_nano: 7n, receivable_nano: 0n });
    expect(await sequenceOf(db, tenantId)).toEqual([1n]);
  });

  it('L6 a batch posted twice under one key is refused the second time, with the whole call it came in', async () => {
    await ledger(0).post(batch('twice', 'batch-1', 5n));
    const before = await figuresOf(db, 'twice');
    await expect(ledger(1).post(batch('another', 'batch-1', 5n), batch('twice', 'batch-1', 6n))).rejects.toMatchObject({ code: 'ledger.already_booked' });
    expect(await figuresOf(db, 'twice')).toEqual(before);
    expect(await sequenceOf(db, 'another')).toEqual([]);
  });

  it('a rolled back call leaves nothing behind, and the next one finds its accounts anew', async () => {
    const fresh = ledgerOn(db, new FixedClock());
    const spend = new SpendLedger(fresh.store);
    const rolledBack = db.transaction(async (tx) => {
      await spend.post(tx, [batch('rolled-back', 'one', 5n)], 'system:test');
      // The second call of the same transaction sees the accounts that the first one made, uncommitted.
      await spend.post(tx, [batch('rolled-back', 'two', 5n)], 'system:test');
      throw new Error('the caller changed its mind');
    });
    await expect(rolledBack).rejects.toThrow('changed its mind');
    expect(await sequenceOf(db, 'rolled-back')).toEqual([]);
    await fresh.post(batch('rolled-back', 'three', 5n));
    await fresh.post(batch('rolled-back', 'four', 5n));
    expect(await sequenceOf(db, 'rolled-back')).toEqual([1n, 2n]);
    expect(await drift()).toEqual([]);
  });

  it('E6 posting for one tenant changes no figure of another', async () => {
    await ledger(0).grant({ tenantId: 'bystander', amountNano: 50n });
    const before = await figuresOf(db, 'bystander');
    await ledger(0).grant({ tenantId: 'active', amountNano: 50n });
    await ledger(1).post(batch('active', 'b', 80n));
    expect(await figuresOf(db, 'bystander')).toEqual(before);
  });

  it('every money transaction leaves one outbox row with its number and the balance after it', async () => {
    const tenantId = 'outbox';
    await ledger(0).grant({ tenantId, amountNano: 50n });
    await ledger(0).post(batch(tenantId, 'b', 80n));
    await ledger(0).grant({ tenantId, amountNano: 100n });
    const rows = await db.query<{ tenant_seq: bigint; payload: Record<string, string> }>(
      `SELECT tenant_seq, payload FROM platform.outbox WHERE tenant_id = $1 AND topic = 'balance.changed' ORDER BY outbox_id`,
      [tenantId],
    );
    expect(
      rows.map(({ tenant_seq, payload }) => [
        tenant_seq,
        payload['kind'],
        payload['lots_nano'],
        payload['receivable_nano'],
        payload['lots_delta_nano'],
        payload['receivable_delta_nano'],
      ]),
    ).toEqual([
      [1n, 'grant', '50', '0', '50', '0'],
      [2n, 'spend', '0', '30', '-50', '30'],
      [3n, 'grant', '100', '30', '100', '0'],
      [4n, 'collection', '70', '0', '-30', '-30'],
    ]);
  });
});
