import { formatUsd, type JsonObject } from '#libs/kernel/index.js';
import type { AuditEntry, ChangeContext } from '#libs/platform/audit/audit-log.js';
import type { TenantBalance } from '../domain/balance.js';
import type { Lot } from '../domain/lot.js';

/** The audit entry of a change of one lot. */
export function auditOfLot(input: { action: string; at: Date; before: Lot | null; after: Lot; by: ChangeContext; reason: string | null }): AuditEntry {
  const { action, at, before, after, by, reason } = input;
  return {
    at,
    actor: by.actor,
    action,
    entity: 'credit',
    entityId: after.lotId,
    tenantId: after.tenantId,
    before: before === null ? null : stateOfLot(before),
    after: stateOfLot(after),
    reason,
    requestId: by.requestId,
  };
}

/** What an audit reader sees of a balance. */
export function stateOfBalance(balance: TenantBalance): JsonObject {
  return { lots_usd: formatUsd(balance.lotsNano), receivable_usd: formatUsd(balance.receivableNano) };
}

function stateOfLot(lot: Lot): JsonObject {
  return {
    kind: lot.kind,
    granted_usd: formatUsd(lot.grantedNano),
    remaining_usd: formatUsd(lot.remainingNano),
    priority: lot.priority,
    expires_at: lot.expiresAt?.toISOString() ?? null,
    voided_at: lot.voidedAt?.toISOString() ?? null,
    reference: lot.reference,
  };
}
