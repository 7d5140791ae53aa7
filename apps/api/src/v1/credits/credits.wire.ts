import type { z } from 'zod';
import { formatUsd, toWireId } from '#libs/kernel/index.js';
import type { GrantReceipt, Lot, TenantBalance, VoidReceipt } from '#libs/ledger/index.js';
import type { balanceAfter, creditWire, grantedCreditWire, voidedCreditWire } from './credits.schemas.js';

export function toGrantedWire(receipt: GrantReceipt): z.infer<typeof grantedCreditWire> {
  return {
    ...toCreditWire(receipt.lot),
    transaction_id: toWireId('txn', receipt.transactionId),
    collected_usd: formatUsd(receipt.collectedNano),
    balance: toBalanceAfter(receipt.balance),
  };
}

export function toVoidedWire(receipt: VoidReceipt): z.infer<typeof voidedCreditWire> {
  return {
    ...toCreditWire(receipt.lot),
    transaction_id: receipt.transactionId === null ? null : toWireId('txn', receipt.transactionId),
    voided_usd: formatUsd(receipt.voidedNano),
    balance: toBalanceAfter(receipt.balance),
  };
}

export function toBalanceAfter(balance: TenantBalance): z.infer<typeof balanceAfter> {
  return { posted_usd: formatUsd(balance.lotsNano - balance.receivableNano), receivable_usd: formatUsd(balance.receivableNano) };
}

function toCreditWire(lot: Lot): z.infer<typeof creditWire> {
  return {
    lot_id: toWireId('lot', lot.lotId),
    tenant_id: lot.tenantId,
    kind: lot.kind,
    granted_usd: formatUsd(lot.grantedNano),
    remaining_usd: formatUsd(lot.remainingNano),
    priority: lot.priority,
    expires_at: lot.expiresAt?.toISOString() ?? null,
    created_at: lot.createdAt.toISOString(),
    voided_at: lot.voidedAt?.toISOString() ?? null,
    reference: lot.reference,
  };
}
