/** Prices as the audit trail keeps them and the wire shows them: decimal USD per unit. */
import { formatPrice, type FemtoPrice, type Json } from '../../kernel/index.js';
import type { ModelAlias } from '../domain/model-alias.js';
import type { OverrideRevision } from '../domain/price-override.js';
import { formatMarkup, type RateCardRevision } from '../domain/rate-card.js';
import type { Component } from '../domain/usage.js';

export function describePrices(prices: ReadonlyMap<Component, FemtoPrice>): Record<string, string> {
  return Object.fromEntries([...prices].map(([component, price]) => [component, formatPrice(price)]));
}

export function describeOverride(override: OverrideRevision): Json {
  return {
    revision: override.revision,
    provider: override.provider,
    model: override.model,
    prices: describePrices(override.prices),
    effective_from: override.effectiveFrom.toISOString(),
    effective_to: override.effectiveTo?.toISOString() ?? null,
  };
}

export function describeRateCard(card: RateCardRevision): Json {
  return {
    revision: card.revision,
    markup_percent: formatMarkup(card.markup),
    prices: card.prices.map((entry) => ({ provider: entry.provider, model: entry.model, prices: describePrices(entry.prices) })),
  };
}

export function describeAlias(alias: ModelAlias): Json {
  return { source_id: alias.sourceId === '' ? null : alias.sourceId, provider: alias.provider, model: alias.model };
}
