import { FixedClock } from '#libs/kernel/testing/fixed-clock.js';
import { ledgerOn, type LedgerFixture } from '#libs/ledger/testing/ledger-fixture.js';
import { openTestDatabase, type TestDatabase } from '../support/database.js';
import { asOwner } from '../support/ledger-figures.js';

const TENANT = 'checked';

describe('F37 a row that an operator edited behind the program is reported', () => {
  let database: TestDatabase;
  let ledger: LedgerFixture;
  let lotAccount: string;

  beforeEach(async () => {
    database = await openTestDatabase();
    ledger = ledgerOn(database.db, new FixedClock());
    lotAccount = `lot:${(await ledger.grant({ tenantId: TENANT, amountNano: 100n })).lot.lotId}`;
    await ledger.post({
      tenantId: TENANT,
      occurredAt: new Date('2026-11-22T11:00:00Z'),
      items: [{ eventId: 'e', provider: 'openai', costNano: 3n, chargeNano: 130n }],
      idemKey: 'b',
    });
    await ledger.grant({ tenantId: 'bystander', amountNano: 1n });
  });
  afterEach(async () => {
    await database.close();
  });

  async function tamper(statement: string): Promise<void> {
    await asOwner(database.url, async (owner) => {
      await owner.query('ALTER TABLE ledger.transfer DISABLE TRIGGER append_only');
      await owner.query('ALTER TABLE ledger.transaction DISABLE TRIGGER append_only');
      await owner.query('SET session_replication_role = replica');
      await owner.query(statement);
    });
  }

  const drift = async () =>
    (await ledger.reader.check()).drift.map(({ tenantId, account, field, expected, found }) => [tenantId, account, field, expected, found]);

  it('nothing, where nobody did', async () => {
    expect(await ledger.reader.check()).toEqual({ accounts: 9, drift: [] });
  });

  it('the amount of a transfer', async () => {
    await tamper(`UPDATE ledger.transfer SET amount = 31 WHERE amount = 30`);
    expect(await drift()).toEqual([
      [TENANT, 'receivable', 'debits', 31n, 30n],
      [TENANT, 'revenue:overage', 'credits', 31n, 30n],
      [TENANT, 'tenant', 'receivable', 31n, 30n],
    ]);
  });

  it('an account balance', async () => {
    await tamper(
      `UPDATE ledger.account_balance SET credits = credits + 5 FROM ledger.account a WHERE a.account_id = account_balance.account_id AND code = 'revenue:usage'`,
    );
    expect(await drift()).toEqual([[TENANT, 'revenue:usage', 'credits', 100n, 105n]]);
  });

  it('what is left of a lot', async () => {
    await tamper(`UPDATE ledger.lot SET remaining_nano = 40 WHERE tenant_id = '${TENANT}'`);
    expect(await drift()).toEqual([[TENANT, lotAccount, 'remaining', 0n, 40n]]);
  });

  it("a tenant's own row", async () => {
    await tamper(`UPDATE ledger.tenant_balance SET lots_nano = 9, receivable_nano = 8, seq = 7 WHERE tenant_id = '${TENANT}'`);
    expect(await drift()).toEqual([
      [TENANT, 'tenant', 'lots', 0n, 9n],
      [TENANT, 'tenant', 'receivable', 30n, 8n],
      [TENANT, 'tenant', 'seq', 2n, 7n],
    ]);
  });

  it('a removed transfer, also when it was the only one of its transaction', async () => {
    await tamper(`DELETE FROM ledger.transfer WHERE transaction_id = (SELECT transaction_id FROM ledger.transaction WHERE tenant_id = 'bystander')`);
    const rows = await drift();
    expect(rows).toContainEqual(['bystander', 'clearing:manual', 'debits', 0n, 1n]);
    expect(rows).toContainEqual(['bystander', expect.stringMatching(/^transaction:/), 'transfers', 1n, 0n]);
  });

  it('a removed transaction', async () => {
    await tamper(`DELETE FROM ledger.transaction WHERE tenant_id = 'bystander'`);
    expect(await drift()).toEqual([['bystander', 'tenant', 'seq', 0n, 1n]]);
  });

  it('a transfer into the account of another tenant', async () => {
    await tamper(
      `UPDATE ledger.transfer SET credit_account = (SELECT account_id FROM ledger.account WHERE tenant_id = 'bystander' AND code LIKE 'lot:%')
        WHERE amount = 30`,
    );
    expect(await drift()).toContainEqual([TENANT, expect.stringMatching(/^transaction:/), 'transfers', 3n, 2n]);
  });
});
