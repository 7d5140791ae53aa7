import { formatPrice, formatUsd } from '#libs/kernel/index.js';
import { describePrices, type ModelPrices, type Rating } from '#libs/pricing/index.js';
import type { ModelPricesWire, QuoteWire } from './prices.schemas.js';

export function toQuoteWire(rating: Extract<Rating, { ok: true }>): QuoteWire {
  return {
    provider: rating.provider,
    model: rating.model,
    cost_usd: formatUsd(rating.costNano),
    charge_usd: formatUsd(rating.chargeNano),
    lines: rating.lines.map((line) => ({
      component: line.component,
      quantity: line.quantity,
      unit_price: formatPrice(line.unitPrice),
      cost_usd: formatUsd(line.costNano),
      charge_usd: formatUsd(line.chargeNano),
    })),
    price_version: rating.priceVersion,
  };
}

export function toModelPricesWire(model: ModelPrices): ModelPricesWire {
  return {
    provider: model.provider,
    model: model.model,
    prices: describePrices(model.prices),
    tiers: model.tiers.map((tier) => ({ above_input_tokens: tier.above, prices: describePrices(tier.prices) })),
    aliases: [...model.aliases],
    price_version: model.priceVersion,
  };
}
