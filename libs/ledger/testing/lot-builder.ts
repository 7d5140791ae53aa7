import type { Lot } from '../domain/lot.js';

/** A paid lot of 100 nano-USD that may be burnt, with what the test says instead. */
export function aLot(changes: Partial<Lot> = {}): Lot {
  const since = new Date('2026-01-01T00:00:00.000Z');
  return {
    lotId: '00000000-0000-7000-8000-000000000001',
    tenantId: 'tenant',
    kind: 'paid',
    grantedNano: 100n,
    remainingNano: 100n,
    priority: 50,
    effectiveAt: since,
    expiresAt: null,
    createdAt: since,
    voidedAt: null,
    reference: null,
    ...changes,
  };
}
