/**
 * The only statements that write money. Input: entries of tenants whose balance rows the transaction holds. Guarantee: transactions,
 * transfers, every cached figure that the transfers change, and the outbox rows, all or nothing. UNNEST of prebuilt arrays, so a call
 * costs the same few round trips for one tenant and for a thousand.
 */
import { DomainError, utcMonthLabel } from '#libs/kernel/index.js';
import { appendOutbox, type OutboxRow } from '#libs/platform/outbox/outbox.js';
import { byteaArray, plainArray, textArray, timeArray } from '#libs/platform/postgres/array-literal.js';
import type { Sql } from '#libs/platform/postgres/database.js';
import type { JournalEntry } from '../application/ports.js';
import { lotOfAccount } from '../domain/account-code.js';
import type { AccountIds } from './account-ids.js';

const RECORD = {
  name: 'ledger.record-transactions',
  text: `INSERT INTO ledger.transaction (transaction_id, tenant_id, tenant_seq, kind, idem_scope, idem_key, request_hash, occurred_at, booked_at,
                                         period, corrects, actor, reason, reference)
         SELECT * FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::bytea[], $8::timestamptz[], $9::timestamptz[],
                              $10::text[], $11::uuid[], $12::text[], $13::text[], $14::text[])
         ON CONFLICT DO NOTHING`,
};

// One statement for the transfers and the three caches they change. The tenant locks are held, so no row here is anybody else's.
const MOVE = {
  name: 'ledger.move',
  text: `WITH line AS (
           INSERT INTO ledger.transfer (transaction_id, line_no, debit_account, credit_account, amount)
           SELECT * FROM unnest($1::uuid[], $2::integer[], $3::bigint[], $4::bigint[], $5::bigint[])
         ), account AS (
           UPDATE ledger.account_balance b SET debits = b.debits + moved.debits, credits = b.credits + moved.credits
             FROM unnest($6::bigint[], $7::bigint[], $8::bigint[]) AS moved (account_id, debits, credits)
            WHERE b.account_id = moved.account_id
         ), lot AS (
           UPDATE ledger.lot l SET remaining_nano = l.remaining_nano + moved.nano
             FROM unnest($9::uuid[], $10::bigint[]) AS moved (lot_id, nano)
            WHERE l.lot_id = moved.lot_id
         )
         UPDATE ledger.tenant_balance t
            SET seq = moved.seq, booked_at = moved.booked_at, lots_nano = moved.lots_nano, receivable_nano = moved.receivable_nano
           FROM unnest($11::text[], $12::bigint[], $13::timestamptz[], $14::bigint[], $15::bigint[]) AS moved (tenant_id, seq, booked_at, lots_nano, receivable_nano)
          WHERE t.tenant_id = moved.tenant_id`,
};

/** @throws DomainError ledger.already_booked */
export async function appendEntries(tx: Sql, accounts: AccountIds, entries: readonly JournalEntry[]): Promise<void> {
  if (entries.length === 0) return;
  const lines = await resolveLines(tx, accounts, entries);
  const recorded = await tx.execute(RECORD, transactionColumns(entries));
  if (recorded !== entries.length) throw alreadyBooked();
  await tx.execute(MOVE, [...lineColumns(lines), ...accountColumns(lines), ...lotColumns(entries), ...tenantColumns(entries)]);
  await appendOutbox(tx, entries.map(outboxRow));
}

interface ResolvedLine {
  readonly transactionId: string;
  readonly lineNo: number;
  readonly debitId: bigint;
  readonly creditId: bigint;
  readonly amountNano: bigint;
}

async function resolveLines(tx: Sql, accounts: AccountIds, entries: readonly JournalEntry[]): Promise<ResolvedLine[]> {
  const names = entries.flatMap(({ tenantId, transfers }) => transfers.flatMap(({ debit, credit }) => [debit, credit].map((code) => ({ tenantId, code }))));
  const idOf = await accounts.resolve(tx, names);
  return entries.flatMap(({ transactionId, tenantId, transfers }) =>
    transfers.map(({ debit, credit, amountNano }, lineNo) => ({
      transactionId,
      lineNo,
      debitId: idOf({ tenantId, code: debit }),
      creditId: idOf({ tenantId, code: credit }),
      amountNano,
    })),
  );
}

function transactionColumns(entries: readonly JournalEntry[]): unknown[] {
  return [
    plainArray(entries.map((entry) => entry.transactionId)),
    textArray(entries.map((entry) => entry.tenantId)),
    plainArray(entries.map((entry) => entry.tenantSeq)),
    plainArray(entries.map((entry) => entry.kind)),
    textArray(entries.map((entry) => entry.idemScope)),
    textArray(entries.map((entry) => entry.idemKey)),
    byteaArray(entries.map((entry) => entry.requestHash.toString('hex'))),
    timeArray(entries.map((entry) => entry.occurredAt)),
    timeArray(entries.map((entry) => entry.bookedAt)),
    plainArray(entries.map((entry) => utcMonthLabel(entry.bookedAt))),
    plainArray(entries.map((entry) => entry.corrects)),
    textArray(entries.map((entry) => entry.actor)),
    textArray(entries.map((entry) => entry.reason)),
    textArray(entries.map((entry) => entry.reference)),
  ];
}

function lineColumns(lines: readonly ResolvedLine[]): unknown[] {
  return [
    plainArray(lines.map((line) => line.transactionId)),
    plainArray(lines.map((line) => line.lineNo)),
    plainArray(lines.map((line) => line.debitId)),
    plainArray(lines.map((line) => line.creditId)),
    plainArray(lines.map((line) => line.amountNano)),
  ];
}

function accountColumns(lines: readonly ResolvedLine[]): unknown[] {
  const moved = new Map<bigint, { debits: bigint; credits: bigint }>();
  const of = (id: bigint): { debits: bigint; credits: bigint } => {
    const sums = moved.get(id) ?? { debits: 0n, credits: 0n };
    moved.set(id, sums);
    return sums;
  };
  for (const line of lines) {
    of(line.debitId).debits += line.amountNano;
    of(line.creditId).credits += line.amountNano;
  }
  const sums = [...moved.values()];
  return [plainArray([...moved.keys()]), plainArray(sums.map((sum) => sum.debits)), plainArray(sums.map((sum) => sum.credits))];
}

function lotColumns(entries: readonly JournalEntry[]): unknown[] {
  const moved = new Map<string, bigint>();
  const move = (code: string, nano: bigint): void => {
    const lotId = lotOfAccount(code);
    if (lotId !== null) moved.set(lotId, (moved.get(lotId) ?? 0n) + nano);
  };
  for (const { transfers } of entries) {
    for (const { debit, credit, amountNano } of transfers) {
      move(debit, -amountNano);
      move(credit, amountNano);
    }
  }
  return [plainArray([...moved.keys()]), plainArray([...moved.values()])];
}

function tenantColumns(entries: readonly JournalEntry[]): unknown[] {
  const last = [...new Map(entries.map((entry) => [entry.tenantId, entry])).values()];
  return [
    textArray(last.map((entry) => entry.tenantId)),
    plainArray(last.map((entry) => entry.tenantSeq)),
    timeArray(last.map((entry) => entry.bookedAt)),
    plainArray(last.map((entry) => entry.after.lotsNano)),
    plainArray(last.map((entry) => entry.after.receivableNano)),
  ];
}

function outboxRow(entry: JournalEntry): OutboxRow {
  return {
    tenantId: entry.tenantId,
    tenantSeq: entry.tenantSeq,
    topic: 'balance.changed',
    payload: {
      transaction_id: entry.transactionId,
      kind: entry.kind,
      lots_delta_nano: String(entry.change.lotsNano),
      receivable_delta_nano: String(entry.change.receivableNano),
      lots_nano: String(entry.after.lotsNano),
      receivable_nano: String(entry.after.receivableNano),
    },
  };
}

function alreadyBooked(): DomainError {
  return new DomainError({ code: 'ledger.already_booked', kind: 'conflict', publicMessage: 'this was booked before; nothing was changed' });
}
