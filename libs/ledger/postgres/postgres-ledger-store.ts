import { textArray } from '#libs/platform/postgres/array-literal.js';
import type { Sql } from '#libs/platform/postgres/database.js';
import { LedgerStore, type JournalEntry, type LockedTenant, type RecentCredits, type RecordedTransaction, type StoredAnswer } from '../application/ports.js';
import { lotAccount } from '../domain/account-code.js';
import type { TenantBalance } from '../domain/balance.js';
import type { Lot } from '../domain/lot.js';
import type { Transfer } from '../domain/transfer.js';
import { AccountIds } from './account-ids.js';
import { appendEntries } from './append-entries.js';
import { LOT_COLUMNS, lotFromRow, type LotRow } from './lot.row.js';

// Sorted below the lock, so rows are locked in tenant order. A row that changed while its lock was awaited is read anew, clock included.
const LOCK = {
  name: 'ledger.lock-tenants',
  text: `SELECT tenant_id, seq, lots_nano, receivable_nano, greatest(date_trunc('milliseconds', clock_timestamp()), booked_at) AS booked_at
           FROM ledger.tenant_balance WHERE tenant_id = ANY ($1::text[]) ORDER BY tenant_id FOR NO KEY UPDATE`,
};
const MAKE_TENANTS = {
  name: 'ledger.make-tenant-balances',
  text: `INSERT INTO ledger.tenant_balance (tenant_id) SELECT named FROM unnest($1::text[]) AS named ORDER BY named ON CONFLICT DO NOTHING`,
};
const BALANCES = {
  name: 'ledger.balances',
  text: `SELECT tenant_id, seq, lots_nano, receivable_nano FROM ledger.tenant_balance WHERE tenant_id = ANY ($1::text[])`,
};
const OPEN_LOTS = {
  name: 'ledger.open-lots',
  text: `SELECT ${LOT_COLUMNS} FROM ledger.lot WHERE tenant_id = ANY ($1::text[]) AND is_open AND voided_at IS NULL`,
};
const RECORDED = {
  name: 'ledger.recorded-transfers',
  text: `SELECT t.transaction_id, t.tenant_id, debit.code AS debit, credit.code AS credit, line.amount
           FROM ledger.transaction t
           JOIN ledger.transfer line USING (transaction_id)
           JOIN ledger.account debit ON debit.account_id = line.debit_account
           JOIN ledger.account credit ON credit.account_id = line.credit_account
          WHERE t.transaction_id = ANY ($1::uuid[])
          ORDER BY t.transaction_id, line.line_no`,
};
const RECENT_CREDITS = {
  name: 'ledger.recent-credits',
  text: `SELECT newest.tenant_id, newest.lot_id, coalesce(recent.granted, newest.granted_nano) AS granted
           FROM unnest($1::text[]) AS asked (tenant_id)
          CROSS JOIN LATERAL (SELECT tenant_id, lot_id, granted_nano FROM ledger.lot
                               WHERE tenant_id = asked.tenant_id AND voided_at IS NULL ORDER BY created_at DESC, lot_id DESC LIMIT 1) newest
          CROSS JOIN LATERAL (SELECT sum(granted_nano)::bigint AS granted FROM ledger.lot
                               WHERE tenant_id = asked.tenant_id AND voided_at IS NULL AND created_at >= $2) recent`,
};
const OVERDUE_AT = 'CASE WHEN voided_at IS NULL THEN expires_at ELSE voided_at END';

interface BalanceRow {
  readonly tenant_id: string;
  readonly seq: bigint;
  readonly lots_nano: bigint;
  readonly receivable_nano: bigint;
}

export class PostgresLedgerStore extends LedgerStore {
  private readonly accounts = new AccountIds();

  override async lockTenants(tx: Sql, tenantIds: readonly string[]): Promise<ReadonlyMap<string, LockedTenant>> {
    if (tenantIds.length === 0) return new Map();
    let rows = await tx.query<BalanceRow & { booked_at: Date }>(LOCK, [textArray(tenantIds)]);
    if (rows.length < tenantIds.length) {
      await tx.execute(MAKE_TENANTS, [textArray(tenantIds)]);
      rows = await tx.query(LOCK, [textArray(tenantIds)]);
    }
    return new Map(rows.map((row) => [row.tenant_id, { ...balanceFromRow(row), bookedAt: row.booked_at }]));
  }

  override async balances(sql: Sql, tenantIds: readonly string[]): Promise<ReadonlyMap<string, TenantBalance>> {
    if (tenantIds.length === 0) return new Map();
    const rows = await sql.query<BalanceRow>(BALANCES, [textArray(tenantIds)]);
    return new Map(rows.map((row) => [row.tenant_id, balanceFromRow(row)]));
  }

  override async openLots(tx: Sql, tenantIds: readonly string[]): Promise<ReadonlyMap<string, Lot[]>> {
    const byTenant = new Map<string, Lot[]>();
    if (tenantIds.length === 0) return byTenant;
    for (const row of await tx.query<LotRow>(OPEN_LOTS, [textArray(tenantIds)])) {
      const lots = byTenant.get(row.tenant_id);
      if (lots === undefined) byTenant.set(row.tenant_id, [lotFromRow(row)]);
      else lots.push(lotFromRow(row));
    }
    return byTenant;
  }

  override async recentCredits(sql: Sql, tenantIds: readonly string[], since: Date): Promise<ReadonlyMap<string, RecentCredits>> {
    const rows = await sql.query<{ tenant_id: string; lot_id: string; granted: bigint }>(RECENT_CREDITS, [textArray(tenantIds), since]);
    return new Map(rows.map((row) => [row.tenant_id, { grantedNano: row.granted, newestLotId: row.lot_id }]));
  }

  override async findLots(sql: Sql, lotIds: readonly string[]): Promise<Lot[]> {
    const rows = await sql.query<LotRow>(`SELECT ${LOT_COLUMNS} FROM ledger.lot WHERE lot_id = ANY ($1::uuid[]) ORDER BY lot_id`, [lotIds]);
    return rows.map(lotFromRow);
  }

  override async openLot(tx: Sql, lot: Lot): Promise<void> {
    const account = { tenantId: lot.tenantId, code: lotAccount(lot.lotId) };
    const idOf = await this.accounts.resolve(tx, [account]);
    await tx.execute(
      `INSERT INTO ledger.lot (lot_id, tenant_id, account_id, kind, granted_nano, remaining_nano, priority, effective_at, expires_at, created_at, reference)
       VALUES ($1, $2, $3, $4, $5, 0, $6, $7, $8, $9, $10)`,
      [lot.lotId, lot.tenantId, idOf(account), lot.kind, lot.grantedNano, lot.priority, lot.effectiveAt, lot.expiresAt, lot.createdAt, lot.reference],
    );
  }

  override async markVoided(tx: Sql, lotId: string, at: Date): Promise<void> {
    await tx.execute('UPDATE ledger.lot SET voided_at = $2 WHERE lot_id = $1', [lotId, at]);
  }

  override async overdueLots(sql: Sql, at: Date, limit: number): Promise<Lot[]> {
    const rows = await sql.query<LotRow>(
      `SELECT ${LOT_COLUMNS} FROM ledger.lot JOIN ledger.tenant_balance b USING (tenant_id)
        WHERE is_open AND ${OVERDUE_AT} <= $1 AND ${OVERDUE_AT} <= greatest(clock_timestamp(), b.booked_at)
        ORDER BY ${OVERDUE_AT}, lot_id LIMIT $2`,
      [at, limit],
    );
    return rows.map(lotFromRow);
  }

  override async recorded(sql: Sql, transactionIds: readonly string[]): Promise<ReadonlyMap<string, RecordedTransaction>> {
    const found = new Map<string, { tenantId: string; transfers: Transfer[] }>();
    if (transactionIds.length === 0) return found;
    const rows = await sql.query<{ transaction_id: string; tenant_id: string; debit: string; credit: string; amount: bigint }>(RECORDED, [transactionIds]);
    for (const row of rows) {
      const transaction = found.get(row.transaction_id) ?? { tenantId: row.tenant_id, transfers: [] };
      transaction.transfers.push({ debit: row.debit, credit: row.credit, amountNano: row.amount });
      found.set(row.transaction_id, transaction);
    }
    return found;
  }

  override async append(tx: Sql, entries: readonly JournalEntry[]): Promise<void> {
    await appendEntries(tx, this.accounts, entries);
  }

  override async findAnswer(tx: Sql, tenantId: string, scope: string, key: string): Promise<StoredAnswer | null> {
    const [row] = await tx.query<{ request_hash: Buffer; response: string }>(
      'SELECT request_hash, response FROM ledger.idempotency WHERE tenant_id = $1 AND scope = $2 AND key = $3',
      [tenantId, scope, key],
    );
    return row === undefined ? null : { requestHash: row.request_hash, response: row.response };
  }

  override async saveAnswer(tx: Sql, tenantId: string, scope: string, key: string, answer: StoredAnswer, at: Date): Promise<void> {
    await tx.execute('INSERT INTO ledger.idempotency (tenant_id, scope, key, request_hash, response, created_at) VALUES ($1, $2, $3, $4, $5, $6)', [
      tenantId,
      scope,
      key,
      answer.requestHash,
      answer.response,
      at,
    ]);
  }
}

function balanceFromRow(row: BalanceRow): TenantBalance {
  return { tenantId: row.tenant_id, seq: row.seq, lotsNano: row.lots_nano, receivableNano: row.receivable_nano };
}
