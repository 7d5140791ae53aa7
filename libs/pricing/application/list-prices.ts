import { divideHalfEven, type Clock, type FemtoPrice } from '../../kernel/index.js';
import type { PricedModel } from '../domain/priced-model.js';
import { MARKUP_SCALE, type SellRate } from '../domain/rate-card.js';
import type { Component } from '../domain/usage.js';
import type { PriceBook } from './price-book.js';

export interface ModelPrices {
  readonly provider: string;
  readonly model: string;
  readonly prices: ReadonlyMap<Component, FemtoPrice>;
  /** Above so many input tokens the whole call costs these prices instead. */
  readonly tiers: readonly { readonly above: number; readonly prices: ReadonlyMap<Component, FemtoPrice> }[];
  /** Gateways' names for it. */
  readonly aliases: readonly string[];
  readonly priceVersion: string;
}

export interface ListPricesInput {
  readonly provider: string | null;
  readonly model: string | null;
  /** Default now. */
  readonly at: Date | null;
  /** Null lists what the provider charges, a card what its tenants pay; a card that does not exist charges the cost. */
  readonly rateCardId: string | null;
  readonly after: readonly [provider: string, model: string] | null;
  readonly limit: number;
}

/** The prices of every priced model at an instant, by provider and name. */
export class ListPrices {
  constructor(
    private readonly book: PriceBook,
    private readonly clock: Clock,
  ) {}

  execute(input: ListPricesInput): ModelPrices[] {
    const at = input.at ?? this.clock.now();
    const card = input.rateCardId === null ? undefined : this.book.cardAt(input.rateCardId, at);
    const aliases = this.aliasesByModel();
    return this.select(input).map((model) => {
      const { prices, version } = model.at(at);
      const sell = card === undefined ? undefined : model.sellRate(card);
      const thresholds = [...new Set([...prices.values()].flatMap((price) => price.tiers.map((tier) => tier.above)))].sort((a, b) => a - b);
      const pricesAbove = (above: number): ReadonlyMap<Component, FemtoPrice> =>
        new Map(
          [...prices].map(([component, price]) => [
            component,
            charged(component, price.tiers.findLast((tier) => tier.above <= above)?.price ?? price.base, sell),
          ]),
        );
      return {
        provider: model.provider,
        model: model.model,
        prices: pricesAbove(0),
        tiers: thresholds.map((above) => ({ above, prices: pricesAbove(above) })),
        aliases: aliases.get(model) ?? [],
        priceVersion: card === undefined ? version : `${version};card:${card.rateCardId}@${card.revision}`,
      };
    });
  }

  private select(input: ListPricesInput): PricedModel[] {
    const provider = input.provider?.toLowerCase();
    const name = input.model?.toLowerCase();
    const [afterProvider, afterModel] = input.after ?? ['', ''];
    const selected: PricedModel[] = [];
    for (const model of this.book.models()) {
      if (selected.length === input.limit) break;
      if (provider !== undefined && model.provider !== provider) continue;
      if (name !== undefined && model.model.toLowerCase() !== name) continue;
      if (model.provider < afterProvider || (model.provider === afterProvider && model.model <= afterModel)) continue;
      selected.push(model);
    }
    return selected;
  }

  private aliasesByModel(): Map<PricedModel, string[]> {
    const byName = new Map(this.book.models().map((model) => [`${model.provider}\0${model.model}`, model]));
    const aliases = new Map<PricedModel, string[]>();
    for (const alias of this.book.aliases()) {
      const target = this.book.find(alias.provider, alias.model);
      const model = target === null ? undefined : byName.get(`${target.provider}\0${target.model}`);
      if (model === undefined) continue;
      const names = aliases.get(model) ?? [];
      if (!names.includes(alias.alias)) aliases.set(model, [...names, alias.alias].sort());
    }
    return aliases;
  }
}

/** What one unit is charged: shown only, a bill is rounded once over the whole call. */
function charged(component: Component, price: FemtoPrice, sell: SellRate | undefined): FemtoPrice {
  if (sell === undefined) return price;
  return sell.prices.get(component) ?? divideHalfEven(price * (MARKUP_SCALE + sell.markup), MARKUP_SCALE);
}
