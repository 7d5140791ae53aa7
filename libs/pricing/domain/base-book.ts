/**
 * The committed list prices, compiled for look-ups: an exact name first, then the rules in the book's order, then the lists of the
 * providers whose models this one resells (Azure sells OpenAI's). Prices are periods in time; the last one that applies wins.
 */
import { DAY_MS, parsePrice, SECOND_MS } from '../../kernel/index.js';
import { compileLooseRule, compileRule, type ModelRule } from './model-rule.js';
import { flatPrice, type ComponentPrice, type PriceTable } from './price-table.js';
import { namesToTry } from './provider-names.js';
import { isComponent, type Component } from './usage.js';

/** The file's shape; scripts/build-price-book.mjs writes it. Prices are decimal USD per unit. */
export interface BaseBookFile {
  readonly version: string;
  readonly providers: readonly {
    readonly id: string;
    readonly models_named?: ModelRule;
    readonly fallback?: readonly string[];
    readonly models: readonly BaseModelFile[];
  }[];
}

interface BaseModelFile {
  readonly id: string;
  readonly names?: readonly string[];
  readonly rules?: readonly ModelRule[];
  readonly periods: readonly {
    readonly from?: string;
    readonly daily?: readonly [number, number];
    readonly prices: Readonly<Record<string, string | { readonly base: string; readonly tiers: readonly (readonly [number, string])[] }>>;
  }[];
}

export interface PricePeriod {
  /** Start in milliseconds; -Infinity for the first price. */
  readonly fromMs: number;
  /** Seconds of the UTC day [start, end), over midnight when end < start; null all day. */
  readonly daily: readonly [number, number] | null;
  readonly prices: PriceTable;
}

export interface ListedModel {
  /** Whose list it is on: the provider itself, or the one it resells. */
  readonly listedBy: string;
  readonly id: string;
  readonly periods: readonly PricePeriod[];
}

interface ProviderList {
  readonly id: string;
  readonly namesModel: ((name: string) => boolean) | null;
  readonly fallback: readonly string[];
  readonly models: readonly ListedModel[];
  readonly byName: ReadonlyMap<string, ListedModel>;
  readonly byRule: readonly { readonly matches: (name: string) => boolean; readonly model: ListedModel }[];
}

const EMPTY: PriceTable = new Map();

export class BaseBook {
  readonly version: string;
  private readonly providers: ReadonlyMap<string, ProviderList>;

  constructor(file: BaseBookFile) {
    this.version = file.version;
    this.providers = new Map(file.providers.map((provider) => [provider.id, compileProvider(provider)]));
  }

  knowsProvider(provider: string): boolean {
    return this.providers.has(provider);
  }

  /** The listed model that `provider` (a canonical name) bills as `model`, or null. */
  find(provider: string, model: string): ListedModel | null {
    const list = this.providers.get(provider);
    if (list === undefined) return null;
    for (const name of namesToTry(provider, model)) {
      const found = this.findName(list, name, new Set());
      if (found !== null) return found;
    }
    return null;
  }

  /** Providers whose own models are called like `model`, for a name that came without its provider. */
  providersNaming(model: string): string[] {
    const name = model.trim().toLowerCase();
    return [...this.providers.values()].filter((list) => list.namesModel?.(name)).map((list) => list.id);
  }

  /** Every listed model with its provider, in the book's order. */
  *models(): Iterable<{ readonly provider: string; readonly model: ListedModel }> {
    for (const list of this.providers.values()) for (const model of list.models) yield { provider: list.id, model };
  }

  private findName(list: ProviderList, name: string, seen: Set<string>): ListedModel | null {
    seen.add(list.id);
    const own = list.byName.get(name) ?? list.byRule.find((rule) => rule.matches(name))?.model;
    if (own !== undefined) return own;
    for (const id of list.fallback) {
      const other = this.providers.get(id);
      if (other === undefined || seen.has(id)) continue;
      const found = this.findName(other, name, seen);
      if (found !== null) return found;
    }
    return null;
  }
}

/** The list prices at `at`: of the periods that apply, the last. */
export function listPricesAt(model: ListedModel, at: Date): PriceTable {
  const ms = at.getTime();
  const second = secondOfDay(ms);
  return model.periods.findLast((period) => ms >= period.fromMs && isWithinDay(period.daily, second))?.prices ?? EMPTY;
}

/** Which daily windows `at` is in, as a bit mask over the periods: 0 for a model without time-of-day prices. */
export function dailyMask(model: ListedModel, at: Date): number {
  let mask = 0;
  const second = secondOfDay(at.getTime());
  model.periods.forEach((period, index) => {
    if (period.daily !== null && isWithinDay(period.daily, second)) mask |= 1 << index;
  });
  return mask;
}

function secondOfDay(ms: number): number {
  return Math.floor((((ms % DAY_MS) + DAY_MS) % DAY_MS) / SECOND_MS);
}

function isWithinDay(daily: PricePeriod['daily'], second: number): boolean {
  if (daily === null) return true;
  const [start, end] = daily;
  return end < start ? second >= start || second < end : second >= start && second < end;
}

function compileProvider(provider: BaseBookFile['providers'][number]): ProviderList {
  const byName = new Map<string, ListedModel>();
  const byRule: { matches: (name: string) => boolean; model: ListedModel }[] = [];
  const models = provider.models.map((file) => {
    const model = compileModel(provider.id, file);
    for (const name of file.names ?? []) if (!byName.has(name)) byName.set(name, model);
    for (const rule of file.rules ?? []) byRule.push({ matches: compileRule(rule), model });
    return model;
  });
  // A model's own id is its name before it is anybody's alias.
  for (const model of models) byName.set(model.id.toLowerCase(), model);
  return {
    id: provider.id,
    namesModel: provider.models_named === undefined ? null : compileLooseRule(provider.models_named),
    fallback: provider.fallback ?? [],
    models,
    byName,
    byRule,
  };
}

function compileModel(listedBy: string, file: BaseModelFile): ListedModel {
  return {
    listedBy,
    id: file.id,
    periods: file.periods.map((period) => ({
      fromMs: period.from === undefined ? Number.NEGATIVE_INFINITY : Date.parse(`${period.from}T00:00:00Z`),
      daily: period.daily ?? null,
      prices: compilePrices(period.prices),
    })),
  };
}

function compilePrices(prices: BaseModelFile['periods'][number]['prices']): PriceTable {
  const table = new Map<Component, ComponentPrice>();
  for (const [component, price] of Object.entries(prices)) {
    if (!isComponent(component)) throw new Error(`the base price book prices "${component}", which is no component`);
    table.set(
      component,
      typeof price === 'string'
        ? flatPrice(parsePrice(price))
        : { base: parsePrice(price.base), tiers: price.tiers.map(([above, tier]) => ({ above, price: parsePrice(tier) })) },
    );
  }
  return table;
}
