import type { z } from 'zod';
import { formatUsd, toWireId } from '#libs/kernel/index.js';
import type { BalanceView } from '#libs/ledger/index.js';
import type { HeldView } from '#libs/quota/index.js';
import type { balanceWire } from './balance.schemas.js';

export function toBalanceWire(view: BalanceView, held: HeldView): z.infer<typeof balanceWire> {
  return {
    posted_usd: formatUsd(view.postedNano),
    held_usd: formatUsd(held.heldNano),
    available_usd: formatUsd(view.availableNano - held.heldNano),
    unresolved_usd: formatUsd(held.unresolvedNano),
    credit_limit_usd: formatUsd(view.creditLimitNano),
    receivable_usd: formatUsd(view.receivableNano),
    lots: view.lots.map((lot) => ({
      lot_id: toWireId('lot', lot.lotId),
      kind: lot.kind,
      granted_usd: formatUsd(lot.grantedNano),
      remaining_usd: formatUsd(lot.remainingNano),
      expires_at: lot.expiresAt?.toISOString() ?? null,
      priority: lot.priority,
    })),
    as_of: view.asOf.toISOString(),
  };
}
