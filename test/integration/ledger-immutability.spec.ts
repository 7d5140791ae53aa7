import { FixedClock } from '#libs/kernel/testing/fixed-clock.js';
import { BY_TEST, ledgerOn } from '#libs/ledger/testing/ledger-fixture.js';
import { openTestDatabase, type TestDatabase } from '../support/database.js';
import { asOwner } from '../support/ledger-figures.js';

const STATEMENTS = [
  ['transaction', 'UPDATE ledger.transaction SET actor = actor'],
  ['transaction', 'DELETE FROM ledger.transaction'],
  ['transaction', 'TRUNCATE ledger.transaction CASCADE'],
  ['transfer', 'UPDATE ledger.transfer SET amount = amount'],
  ['transfer', 'DELETE FROM ledger.transfer'],
  ['transfer', 'TRUNCATE ledger.transfer'],
  ['idempotency', 'UPDATE ledger.idempotency SET response = response'],
  ['idempotency', 'DELETE FROM ledger.idempotency'],
  ['idempotency', 'TRUNCATE ledger.idempotency'],
] as const;

describe('L3 what was booked stays booked', () => {
  let database: TestDatabase;

  beforeAll(async () => {
    database = await openTestDatabase();
    await ledgerOn(database.db, new FixedClock()).grant({
      tenantId: 'l3',
      amountNano: 5n,
      by: BY_TEST,
      idempotency: { key: 'k', fingerprint: Buffer.alloc(16), present: () => '{}' },
    });
  });
  afterAll(async () => {
    await database.close();
  });

  it.each(STATEMENTS)('the program may not change ledger.%s: %s', async (_table, statement) => {
    await expect(database.db.execute(statement)).rejects.toMatchObject({ code: '42501' });
  });

  it.each(STATEMENTS)('the owner is stopped by the trigger on ledger.%s: %s', async (_table, statement) => {
    await asOwner(database.url, async (owner) => {
      await expect(owner.query(statement)).rejects.toThrow(/never changed or removed/);
    });
  });

  it.each(STATEMENTS)('session_replication_role does not switch the trigger on ledger.%s off: %s', async (_table, statement) => {
    await asOwner(database.url, async (owner) => {
      await owner.query('SET session_replication_role = replica');
      await expect(owner.query(statement)).rejects.toThrow(/never changed or removed/);
    });
  });

  it.each(['account_balance', 'tenant_balance', 'lot', 'account'])('the program may not remove a row of ledger.%s', async (table) => {
    await expect(database.db.execute(`DELETE FROM ledger.${table}`)).rejects.toMatchObject({ code: '42501' });
    await expect(database.db.execute(`TRUNCATE ledger.${table} CASCADE`)).rejects.toMatchObject({ code: '42501' });
  });
});

describe('L1 L4 the tables refuse what the ledger never does', () => {
  let database: TestDatabase;

  beforeAll(async () => {
    database = await openTestDatabase();
    await ledgerOn(database.db, new FixedClock()).grant({ tenantId: 'l1', amountNano: 5n });
  });
  afterAll(async () => {
    await database.close();
  });

  it.each([
    ['a transfer of nothing', 'SELECT transaction_id, 9, debit_account, credit_account, 0 FROM ledger.transfer LIMIT 1'],
    ['a negative transfer', 'SELECT transaction_id, 9, debit_account, credit_account, -1 FROM ledger.transfer LIMIT 1'],
    ['a transfer above 9,000,000 USD', 'SELECT transaction_id, 9, debit_account, credit_account, 9000000000000001 FROM ledger.transfer LIMIT 1'],
    ['a transfer from an account to itself', 'SELECT transaction_id, 9, debit_account, debit_account, 1 FROM ledger.transfer LIMIT 1'],
  ])('%s', async (_case, row) => {
    await expect(
      database.db.execute(`INSERT INTO ledger.transfer (transaction_id, line_no, debit_account, credit_account, amount) ${row}`),
    ).rejects.toMatchObject({ code: '23514' });
  });

  it.each([
    ['a lot below zero', 'UPDATE ledger.lot SET remaining_nano = -1'],
    ['a lot above its grant', 'UPDATE ledger.lot SET remaining_nano = granted_nano + 1'],
    ['a lot account that was burnt beyond its grant', 'UPDATE ledger.account_balance SET debits = credits + 1 WHERE is_lot'],
    ['lots below zero in a tenant row', 'UPDATE ledger.tenant_balance SET lots_nano = -1'],
  ])('%s', async (_case, statement) => {
    await expect(database.db.execute(statement)).rejects.toMatchObject({ code: '23514' });
  });
});
