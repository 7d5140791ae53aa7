import type { z } from 'zod';
import { formatUsd, toWireId, type Nano } from '#libs/kernel/index.js';
import type { BookedTransaction, DriftField, LedgerCheck } from '#libs/ledger/index.js';
import type { entryWire, ledgerCheckWire } from './ledger.schemas.js';

export function toEntryWire(entry: BookedTransaction): z.infer<typeof entryWire> {
  return {
    transaction_id: toWireId('txn', entry.transactionId),
    seq: Number(entry.tenantSeq),
    kind: entry.kind,
    occurred_at: entry.occurredAt.toISOString(),
    booked_at: entry.bookedAt.toISOString(),
    corrects: entry.corrects === null ? null : toWireId('txn', entry.corrects),
    actor: entry.actor,
    reason: entry.reason,
    reference: entry.reference,
    transfers: entry.transfers.map(({ debit, credit, amountNano }) => ({ debit, credit, amount_usd: formatUsd(amountNano) })),
  };
}

export function toCheckWire(check: LedgerCheck): z.infer<typeof ledgerCheckWire> {
  return {
    accounts: check.accounts,
    drift: check.drift.map(({ tenantId, account, field, expected, found }) => ({
      tenant_id: tenantId,
      account,
      field,
      expected: figure(field, expected),
      found: figure(field, found),
    })),
  };
}

function figure(field: DriftField, value: Nano): string {
  return field === 'seq' || field === 'transfers' ? String(value) : formatUsd(value);
}
