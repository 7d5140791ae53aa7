import type { Lot, LotKind } from '../domain/lot.js';

export interface LotRow {
  readonly lot_id: string;
  readonly tenant_id: string;
  readonly kind: LotKind;
  readonly granted_nano: bigint;
  readonly remaining_nano: bigint;
  readonly priority: number;
  readonly effective_at: Date;
  readonly expires_at: Date | null;
  readonly created_at: Date;
  readonly voided_at: Date | null;
  readonly reference: string | null;
}

export const LOT_COLUMNS = 'lot_id, tenant_id, kind, granted_nano, remaining_nano, priority, effective_at, expires_at, created_at, voided_at, reference';

export function lotFromRow(row: LotRow): Lot {
  return {
    lotId: row.lot_id,
    tenantId: row.tenant_id,
    kind: row.kind,
    grantedNano: row.granted_nano,
    remainingNano: row.remaining_nano,
    priority: row.priority,
    effectiveAt: row.effective_at,
    expiresAt: row.expires_at,
    createdAt: row.created_at,
    voidedAt: row.voided_at,
    reference: row.reference,
  };
}
