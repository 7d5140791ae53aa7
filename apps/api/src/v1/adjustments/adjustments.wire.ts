import type { z } from 'zod';
import { formatUsd, toWireId } from '#libs/kernel/index.js';
import type { AdjustmentReceipt } from '#libs/ledger/index.js';
import { toBalanceAfter } from '../credits/credits.wire.js';
import type { adjustmentWire } from './adjustments.schemas.js';

export function toAdjustmentWire(receipt: AdjustmentReceipt): z.infer<typeof adjustmentWire> {
  return {
    transaction_id: toWireId('txn', receipt.transactionId),
    tenant_id: receipt.balance.tenantId,
    amount_usd: formatUsd(receipt.amountNano),
    lot_id: receipt.lotId === null ? null : toWireId('lot', receipt.lotId),
    balance: toBalanceAfter(receipt.balance),
  };
}
