import { describePrices, type OverrideRevision } from '#libs/pricing/index.js';
import type { PriceOverrideWire } from './price-overrides.schemas.js';

export function toPriceOverrideWire(override: OverrideRevision): PriceOverrideWire {
  return {
    override_id: override.overrideId,
    revision: override.revision,
    provider: override.provider,
    model: override.model,
    prices: describePrices(override.prices),
    effective_from: override.effectiveFrom.toISOString(),
    effective_to: override.effectiveTo?.toISOString() ?? null,
    created_at: override.createdAt.toISOString(),
  };
}
