/** Prices: what a call costs and what the tenant is charged for it. */
export { ListPriceDecisions } from './application/list-price-decisions.js';
export { ListPrices, type ModelPrices } from './application/list-prices.js';
export type { StoredAlias } from './application/ports.js';
export { PriceBook } from './application/price-book.js';
export { PutModelAlias } from './application/put-model-alias.js';
export { PutPriceOverride } from './application/put-price-override.js';
export { PutRateCard } from './application/put-rate-card.js';
export { describePrices } from './application/describe-prices.js';
export type { OverrideRevision } from './domain/price-override.js';
export type { RateQuery, Rating } from './domain/price-snapshot.js';
export type { RatedLine } from './domain/rate.js';
export { formatMarkup, MARKUP_RULE, type RateCardRevision } from './domain/rate-card.js';
export { USAGE_POOLS, type Usage, type UsagePool } from './domain/usage.js';
export { PricingModule } from './pricing.module.js';
