/**
 * Everything about prices at one moment of the operator's decisions, immutable: a refresh makes a new one, so a rating never sees half
 * a change. Whose price a call gets, in this order:
 * 1. the model that ran, at the provider that ran it, if either the list or an override prices it;
 * 2. the alias an operator set for that name, then for the name that was asked for;
 * 3. what the name was learned to be, the dearest where it is several.
 * A price of another provider is never borrowed, and the name asked for never prices a model that is known to be another.
 */
import type { Nano } from '../../kernel/index.js';
import type { BaseBook } from './base-book.js';
import { AliasIndex, type ModelAlias } from './model-alias.js';
import { ANY, type OverrideRevision } from './price-override.js';
import { PricedModel, type OverrideSet } from './priced-model.js';
import { canonicalProvider, namesToTry, providerKey } from './provider-names.js';
import { rate, rateReportedCost, type RatedLine } from './rate.js';
import { AT_COST, revisionAt, type RateCardRevision, type SellRate } from './rate-card.js';
import { consumesPools, type Usage } from './usage.js';

export interface RateQuery {
  readonly provider: string | null;
  /** The model that ran. */
  readonly model: string | null;
  /** The name the caller asked for. */
  readonly requestedModel: string | null;
  readonly sourceId: string;
  readonly usage: Usage;
  /** When it was consumed. */
  readonly at: Date;
  readonly rateCardId: string | null;
  /** Charge 0: the tenant is unknown. */
  readonly free: boolean;
  /** The sender's figure, only when the source is trusted for cost. */
  readonly reportedCostNano: Nano | null;
}

export type Rating =
  | {
      readonly ok: true;
      readonly lines: RatedLine[];
      readonly costNano: Nano;
      readonly chargeNano: Nano;
      readonly priceVersion: string;
      /** Resolved: the price book's names where it knows the model, else as sent. */
      readonly provider: string;
      readonly model: string;
    }
  | { readonly ok: false; readonly reason: 'model_unpriced' | 'component_unpriced'; readonly component?: string };

export interface PriceDecisions {
  readonly overrides: readonly OverrideRevision[];
  readonly rateCards: readonly RateCardRevision[];
  readonly aliases: readonly ModelAlias[];
}

export const NO_DECISIONS: PriceDecisions = { overrides: [], rateCards: [], aliases: [] };

/** Names are the sender's: the memory of what they resolve to is emptied when it reaches this, so that nobody can fill it. */
const MAX_MEMORY = 20_000;
const UNKNOWN = 'unknown';
const NO_CARD: { rate: SellRate; version: string } = { rate: AT_COST, version: '' };

export class PriceSnapshot {
  readonly aliases: AliasIndex;
  private readonly resolved = new Map<string, readonly PricedModel[]>();
  private readonly overridesByModel = new Map<string, OverrideRevision[][]>();
  private readonly overrideProvidersByModel = new Map<string, Set<string>>();
  private readonly everyModel: OverrideSet;
  private readonly cards: ReadonlyMap<string, RateCardRevision[]>;
  /** Prices of calls that name no priced model: meters that cost the same whatever the model is. */
  private readonly nobodys: PricedModel;
  private sorted: PricedModel[] | undefined;

  constructor(
    readonly book: BaseBook,
    decisions: PriceDecisions,
  ) {
    this.aliases = new AliasIndex(decisions.aliases);
    this.cards = group(decisions.rateCards, (card) => card.rateCardId);
    for (const revisions of this.cards.values()) revisions.sort((a, b) => a.revision - b.revision);
    const byId = [...group(decisions.overrides, (override) => override.overrideId).values()];
    this.everyModel = byId.map((revisions) => revisions.filter((revision) => revision.model === ANY)).filter((revisions) => revisions.length > 0);
    for (const revisions of byId) this.indexOverride(revisions);
    this.nobodys = new PricedModel(UNKNOWN, UNKNOWN, null, book.version, [this.everyModel], []);
  }

  /** Prices one call. Never throws for what a sender may send. */
  rate(query: RateQuery): Rating {
    const candidates = this.resolve(query);
    const [first] = candidates;
    if (query.reportedCostNano !== null) return this.rateReported(query, query.reportedCostNano, first);
    if (first === undefined) return this.rateUnlisted(query);
    if (candidates.length === 1) return this.rateAs(query, first);
    const ratings = candidates.map((candidate) => this.rateAs(query, candidate));
    return ratings.reduce((dearest, next) => (next.ok && (!dearest.ok || next.costNano > dearest.costNano) ? next : dearest));
  }

  /** The model that a provider and a name mean, or null when nothing prices it. A null provider is found by the name. */
  find(provider: string | null, model: string): PricedModel | null {
    if (model === ANY) return this.nobodys;
    if (provider !== null) return this.findAt(provider, model);
    const slash = model.indexOf('/');
    const prefix = slash > 0 ? canonicalProvider(model.slice(0, slash)) : null;
    if (prefix !== null) {
      const found = this.findAt(prefix, model);
      if (found !== null) return found;
    }
    for (const naming of this.book.providersNaming(model)) {
      const found = this.findAt(naming, model);
      if (found !== null) return found;
    }
    const providers = [...(this.overrideProvidersByModel.get(model.trim().toLowerCase()) ?? [])];
    return providers.length === 1 && providers[0] !== undefined ? this.findAt(providers[0], model) : null;
  }

  /** Every priced model, the listed ones and those only an override prices, by provider and name. */
  models(): readonly PricedModel[] {
    this.sorted ??= this.collectModels().sort((a, b) => compare(a.provider, b.provider) || compare(a.model, b.model));
    return this.sorted;
  }

  /** The card's revision that counts at `at`; undefined where there is no such card. */
  cardAt(rateCardId: string, at: Date): RateCardRevision | undefined {
    return revisionAt(this.cards.get(rateCardId) ?? [], at);
  }

  private collectModels(): PricedModel[] {
    const found = new Map<string, PricedModel>();
    const add = (model: PricedModel | null): void => {
      if (model !== null) found.set(overrideKey(model.provider, model.model), model);
    };
    for (const { provider, model } of this.book.models()) add(this.findAt(provider, model.id));
    for (const [first] of [...this.overridesByModel.values()].flat()) if (first !== undefined) add(this.findAt(providerKey(first.provider), first.model));
    return [...found.values()];
  }

  private resolve(query: RateQuery): readonly PricedModel[] {
    const key = `${query.provider ?? ''}\0${query.model ?? ''}\0${query.requestedModel ?? ''}\0${query.sourceId}`;
    let found = this.resolved.get(key);
    if (found === undefined) {
      found = this.search(query);
      if (this.resolved.size >= MAX_MEMORY) this.resolved.clear();
      this.resolved.set(key, found);
    }
    return found;
  }

  private search({ provider: sentProvider, model, requestedModel, sourceId }: RateQuery): PricedModel[] {
    const provider = sentProvider === null ? null : canonicalProvider(sentProvider);
    const name = model ?? requestedModel;
    if (name === null) return [];
    const direct = model === null ? null : this.find(provider, model);
    if (direct !== null) return [direct];
    const set = this.findAlias(provider, sourceId, name) ?? (requestedModel === null ? null : this.findAlias(null, sourceId, requestedModel));
    if (set !== null) return [set];
    const asked = model === null ? this.find(provider, name) : null;
    if (asked !== null) return [asked];
    return this.aliases.findLearned(sourceId, name).flatMap((alias) => this.find(providerKey(alias.provider), alias.model) ?? []);
  }

  private findAlias(provider: string | null, sourceId: string, name: string): PricedModel | null {
    for (const candidate of provider === null ? [name] : namesToTry(provider, name)) {
      const alias = this.aliases.findSet(sourceId, candidate);
      if (alias !== undefined) return this.find(providerKey(alias.provider), alias.model);
    }
    return null;
  }

  private findAt(provider: string, model: string): PricedModel | null {
    const listed = this.book.find(provider, model);
    const names = namesToTry(provider, model);
    const general = listed === null ? [] : (this.overridesByModel.get(overrideKey(provider, listed.id)) ?? []);
    const specific = names.filter((name) => name !== listed?.id.toLowerCase()).flatMap((name) => this.overridesByModel.get(overrideKey(provider, name)) ?? []);
    const own = specific[0]?.[0] ?? general[0]?.[0];
    if (listed === null && own === undefined) return null;
    const resolvedName = listed?.id ?? own?.model ?? model;
    return new PricedModel(provider, resolvedName, listed, this.book.version, [this.everyModel, general, specific], [resolvedName.toLowerCase(), ...names]);
  }

  private rateAs(query: RateQuery, model: PricedModel): Rating {
    const { prices, version } = model.at(query.at);
    if (consumesPools(query.usage) && (model === this.nobodys || prices.size === 0)) return { ok: false, reason: 'model_unpriced' };
    const sell = this.sellSide(query, model);
    const rated = rate({ usage: query.usage, prices, sell: sell.rate, free: query.free });
    if (!rated.ok) return { ok: false, reason: 'component_unpriced', component: rated.component };
    // Written out: a spread here was most of the time a rating takes.
    return {
      ok: true,
      lines: rated.lines,
      costNano: rated.costNano,
      chargeNano: rated.chargeNano,
      priceVersion: sell.version === '' ? version : version + sell.version,
      provider: model.provider,
      model: model.model,
    };
  }

  /** Nothing prices the model: fine as long as it consumed nothing a model is needed for. */
  private rateUnlisted(query: RateQuery): Rating {
    const rating = this.rateAs(query, this.nobodys);
    if (!rating.ok) return rating;
    return { ...rating, ...this.sentNames(query) };
  }

  private rateReported(query: RateQuery, costNano: Nano, model: PricedModel | undefined): Rating {
    const sell = this.sellSide(query, model ?? this.nobodys);
    const names = model === undefined ? this.sentNames(query) : { provider: model.provider, model: model.model };
    return { ...rateReportedCost(costNano, sell.rate, query.free), priceVersion: `reported${sell.version}`, ...names };
  }

  private sellSide(query: RateQuery, model: PricedModel): { rate: SellRate; version: string } {
    if (query.rateCardId === null) return NO_CARD;
    const card = this.cardAt(query.rateCardId, query.at);
    // A plan may name a card that was never made: the tenant pays the cost, and the version says that the card was missing.
    if (card === undefined) return { rate: AT_COST, version: `;card:${query.rateCardId}@missing` };
    return { rate: model.sellRate(card), version: `;card:${card.rateCardId}@${card.revision}` };
  }

  private sentNames(query: RateQuery): { provider: string; model: string } {
    return { provider: (query.provider === null ? null : canonicalProvider(query.provider)) ?? UNKNOWN, model: query.model ?? query.requestedModel ?? UNKNOWN };
  }

  private indexOverride(revisions: readonly OverrideRevision[]): void {
    for (const [key, own] of group(revisions, (revision) => overrideKey(providerKey(revision.provider), revision.model))) {
      const first = own[0];
      if (first === undefined || first.model === ANY) continue;
      const known = this.overridesByModel.get(key) ?? [];
      known.push(own);
      this.overridesByModel.set(key, known);
      const model = first.model.trim().toLowerCase();
      const providers = this.overrideProvidersByModel.get(model) ?? new Set();
      this.overrideProvidersByModel.set(model, providers.add(providerKey(first.provider)));
    }
  }
}

function overrideKey(provider: string, model: string): string {
  return `${provider}\0${model.trim().toLowerCase()}`;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function group<T>(items: readonly T[], keyOf: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const key = keyOf(item);
    const known = groups.get(key);
    if (known === undefined) groups.set(key, [item]);
    else known.push(item);
  }
  return groups;
}
