import { Database } from '#libs/platform/postgres/database.js';
import { LedgerReader, type BookedTransaction, type DriftField, type EntryFilter, type LedgerCheck, type TransactionKind } from '../application/ports.js';
import { emptyBalance, type TenantBalance } from '../domain/balance.js';
import type { Lot } from '../domain/lot.js';
import { CHECK_LEDGER } from './check-ledger.js';
import { LOT_COLUMNS, lotFromRow, type LotRow } from './lot.row.js';

// A full check reads every transfer there is; the pool's usual limit is for requests that a caller waits for.
const CHECK_TIMEOUT = `SET LOCAL statement_timeout = '10min'`;

const LOT_COLUMNS_OF_L = LOT_COLUMNS.replaceAll(/\w+/g, 'l.$&');

type BalanceRow = { seq: bigint; booked_at: Date; lots_nano: bigint; receivable_nano: bigint } & (LotRow | { lot_id: null });

interface EntryRow {
  readonly transaction_id: string;
  readonly tenant_seq: bigint;
  readonly kind: TransactionKind;
  readonly occurred_at: Date;
  readonly booked_at: Date;
  readonly corrects: string | null;
  readonly actor: string;
  readonly reason: string | null;
  readonly reference: string | null;
  readonly debits: readonly string[];
  readonly credits: readonly string[];
  readonly amounts: readonly string[];
}

interface CheckRow {
  readonly accounts: bigint;
  readonly tenant_id: string | null;
  readonly account: string;
  readonly field: DriftField;
  readonly expected: string;
  readonly found: string;
}

export class PostgresLedgerReader extends LedgerReader {
  constructor(private readonly database: Database) {
    super();
  }

  override async balance(tenantId: string): Promise<{ balance: TenantBalance; lots: Lot[]; bookedAt: Date | null }> {
    const rows = await this.database.query<BalanceRow>(
      `SELECT b.seq, b.booked_at, b.lots_nano, b.receivable_nano, ${LOT_COLUMNS_OF_L}
         FROM ledger.tenant_balance b
         LEFT JOIN ledger.lot l ON l.tenant_id = b.tenant_id AND l.is_open AND l.voided_at IS NULL
        WHERE b.tenant_id = $1`,
      [tenantId],
    );
    const [first] = rows;
    if (first === undefined) return { balance: emptyBalance(tenantId), lots: [], bookedAt: null };
    return {
      balance: { tenantId, seq: first.seq, lotsNano: first.lots_nano, receivableNano: first.receivable_nano },
      lots: rows.flatMap((row) => (row.lot_id === null ? [] : [lotFromRow(row)])),
      bookedAt: first.booked_at,
    };
  }

  override async entries(filter: EntryFilter): Promise<BookedTransaction[]> {
    const rows = await this.database.query<EntryRow>(
      `SELECT t.transaction_id, t.tenant_seq, t.kind, t.occurred_at, t.booked_at, t.corrects, t.actor, t.reason, t.reference, line.*
         FROM (SELECT * FROM ledger.transaction
                WHERE tenant_id = $1
                  AND ($2::timestamptz IS NULL OR tenant_seq >= (SELECT min(tenant_seq) FROM ledger.transaction WHERE tenant_id = $1 AND booked_at >= $2))
                  AND ($3::timestamptz IS NULL OR booked_at < $3)
                  AND tenant_seq > $4
                ORDER BY tenant_seq LIMIT $5) AS t
         CROSS JOIN LATERAL (
           SELECT array_agg(debit.code ORDER BY x.line_no) AS debits, array_agg(credit.code ORDER BY x.line_no) AS credits,
                  array_agg(x.amount::text ORDER BY x.line_no) AS amounts
             FROM ledger.transfer x
             JOIN ledger.account debit ON debit.account_id = x.debit_account
             JOIN ledger.account credit ON credit.account_id = x.credit_account
            WHERE x.transaction_id = t.transaction_id) AS line
        ORDER BY t.tenant_seq`,
      [filter.tenantId, filter.from, filter.to, filter.afterSeq ?? 0n, filter.limit],
    );
    return rows.map(entryFromRow);
  }

  override async check(): Promise<LedgerCheck> {
    const rows = await this.database.transaction(async (tx) => {
      await tx.execute(CHECK_TIMEOUT);
      return await tx.query<CheckRow>(CHECK_LEDGER);
    });
    return {
      accounts: Number(rows[0]?.accounts ?? 0n),
      drift: rows.flatMap(({ tenant_id, account, field, expected, found }) =>
        tenant_id === null ? [] : [{ tenantId: tenant_id, account, field, expected: BigInt(expected), found: BigInt(found) }],
      ),
    };
  }
}

function entryFromRow(row: EntryRow): BookedTransaction {
  return {
    transactionId: row.transaction_id,
    tenantSeq: row.tenant_seq,
    kind: row.kind,
    occurredAt: row.occurred_at,
    bookedAt: row.booked_at,
    corrects: row.corrects,
    actor: row.actor,
    reason: row.reason,
    reference: row.reference,
    transfers: row.amounts.map((amount, index) => ({ debit: row.debits[index] ?? '', credit: row.credits[index] ?? '', amountNano: BigInt(amount) })),
  };
}
