import type { Nano } from '#libs/kernel/index.js';

/** What a tenant has after its transaction number `seq`. Posted balance = lots - receivable; the receivable may be negative. */
export interface TenantBalance {
  readonly tenantId: string;
  readonly seq: bigint;
  /** Sum of what is left on all lots, expired ones that were not swept yet included. */
  readonly lotsNano: Nano;
  /** What the tenant owes beyond its lots; negative after the reversal of a debt that was already collected. */
  readonly receivableNano: Nano;
}

export function emptyBalance(tenantId: string): TenantBalance {
  return { tenantId, seq: 0n, lotsNano: 0n, receivableNano: 0n };
}
