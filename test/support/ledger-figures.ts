/** Reads behind the product's back: what the tables say, without the ledger's own code. */
import pg from 'pg';
import type { Database } from '#libs/platform/postgres/database.js';

/** Every figure kept about a tenant; equal before and after means that nothing moved. */
export async function figuresOf(
  db: Database,
  tenantId: string,
): Promise<{ accounts: Record<string, bigint>; lots: Record<string, bigint>; balance: object | null }> {
  const accounts = await db.query<{ code: string; net: bigint }>(
    'SELECT code, credits - debits AS net FROM ledger.account JOIN ledger.account_balance USING (account_id) WHERE tenant_id = $1 AND credits <> debits ORDER BY code',
    [tenantId],
  );
  const lots = await db.query<{ lot_id: string; remaining_nano: bigint }>(
    'SELECT lot_id, remaining_nano FROM ledger.lot WHERE tenant_id = $1 ORDER BY lot_id',
    [tenantId],
  );
  const [balance] = await db.query<{ lots_nano: bigint; receivable_nano: bigint }>(
    'SELECT lots_nano, receivable_nano FROM ledger.tenant_balance WHERE tenant_id = $1',
    [tenantId],
  );
  return {
    accounts: Object.fromEntries(accounts.map((row) => [row.code, row.net])),
    lots: Object.fromEntries(lots.map((row) => [row.lot_id, row.remaining_nano])),
    balance: balance ?? null,
  };
}

/** The tenant's transaction numbers in order. */
export async function sequenceOf(db: Database, tenantId: string): Promise<bigint[]> {
  const rows = await db.query<{ tenant_seq: bigint }>('SELECT tenant_seq FROM ledger.transaction WHERE tenant_id = $1 ORDER BY tenant_seq', [tenantId]);
  return rows.map((row) => row.tenant_seq);
}

/** Moves a tenant's booking time ahead, since bookings never go back; "a month later" without waiting. */
export async function bookFrom(db: Database, tenantId: string, at: Date): Promise<void> {
  await db.execute(
    'INSERT INTO ledger.tenant_balance (tenant_id, booked_at) VALUES ($1, $2) ON CONFLICT (tenant_id) DO UPDATE SET booked_at = excluded.booked_at',
    [tenantId, at],
  );
}

/** Runs statements as the owner of the schema, in one session. */
export async function asOwner<T>(url: string, work: (owner: pg.Client) => Promise<T>): Promise<T> {
  const owner = new pg.Client({ connectionString: url, application_name: 'test-owner' });
  await owner.connect();
  try {
    return await work(owner);
  } finally {
    await owner.end();
  }
}
