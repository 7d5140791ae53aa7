import { describePrices, formatMarkup, type RateCardRevision } from '#libs/pricing/index.js';
import type { RateCardWire } from './rate-cards.schemas.js';

export function toRateCardWire(card: RateCardRevision): RateCardWire {
  return {
    rate_card_id: card.rateCardId,
    revision: card.revision,
    markup_percent: formatMarkup(card.markup),
    prices: card.prices.map((entry) => ({ provider: entry.provider, model: entry.model, prices: describePrices(entry.prices) })),
    created_at: card.createdAt.toISOString(),
  };
}
