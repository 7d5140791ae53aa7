/**
 * One model as one provider bills it: its list prices with the operator's overrides over them, at any instant (S5). A table is built
 * once per stretch of time in which nothing changes, so that rating is a look-up and not a merge.
 */
import { dailyMask, listPricesAt, type ListedModel } from './base-book.js';
import { byStart, changePoints, governingRevision, overlay, type OverrideRevision } from './price-override.js';
import type { PriceTable } from './price-table.js';
import { sellRateFor, type RateCardRevision, type SellRate } from './rate-card.js';

export interface PricesAt {
  readonly prices: PriceTable;
  /** "genai-prices-0.1.8/openai/gpt-4o;override:my@2": everything the prices come from. */
  readonly version: string;
}

/** Overrides of one kind, each the revisions of one override id. */
export type OverrideSet = readonly (readonly OverrideRevision[])[];

export class PricedModel {
  private readonly tables = new Map<number, PricesAt>();
  private readonly sellRates = new Map<RateCardRevision, SellRate>();
  private readonly changes: readonly number[];
  private readonly hasDailyPrices: boolean;

  constructor(
    readonly provider: string,
    readonly model: string,
    private readonly listed: ListedModel | null,
    private readonly bookVersion: string,
    /** In rising precedence: every model's meters, the model's, the very name's. */
    private readonly overrides: readonly OverrideSet[],
    /** Lower-case names a rate card may know the model by. */
    private readonly names: readonly string[],
  ) {
    const points = [...(listed?.periods ?? []).map((period) => period.fromMs), ...overrides.flat().flatMap(changePoints)];
    this.changes = [...new Set(points)].sort((a, b) => a - b);
    this.hasDailyPrices = listed?.periods.some((period) => period.daily !== null) ?? false;
  }

  /** The prices that apply at `at`. */
  at(at: Date): PricesAt {
    const windows = this.listed === null || !this.hasDailyPrices ? 0 : dailyMask(this.listed, at);
    const key = windows * (this.changes.length + 1) + this.stretch(at.getTime());
    let found = this.tables.get(key);
    if (found === undefined) {
      found = this.build(at);
      this.tables.set(key, found);
    }
    return found;
  }

  sellRate(card: RateCardRevision): SellRate {
    let found = this.sellRates.get(card);
    if (found === undefined) {
      found = sellRateFor(card, this.provider, this.names);
      this.sellRates.set(card, found);
    }
    return found;
  }

  /** How many changes are at or before `ms`. */
  private stretch(ms: number): number {
    let count = 0;
    for (const change of this.changes) {
      if (change > ms) break;
      count += 1;
    }
    return count;
  }

  private build(at: Date): PricesAt {
    let prices: PriceTable = this.listed === null ? new Map() : listPricesAt(this.listed, at);
    const version = this.listed === null ? [] : [`${this.bookVersion}/${this.listed.listedBy}/${this.listed.id}`];
    for (const set of this.overrides) {
      const governing = set.flatMap((revisions) => governingRevision(revisions, at) ?? []).sort(byStart);
      prices = overlay(prices, governing);
      for (const revision of governing) version.push(`override:${revision.overrideId}@${revision.revision}`);
    }
    return { prices, version: version.length === 0 ? this.bookVersion : version.join(';') };
  }
}
