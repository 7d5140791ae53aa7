/**
 * The prices in force, in memory: list prices and the operator's decisions, swapped as a whole on refresh. Rating never waits for a
 * database; one that is away leaves the last known prices in force. Before the first refresh only list prices are.
 */
import type { Clock } from '../../kernel/index.js';
import type { Database } from '../../platform/postgres/database.js';
import { BaseBook, type BaseBookFile } from '../domain/base-book.js';
import type { ModelAlias } from '../domain/model-alias.js';
import type { PricedModel } from '../domain/priced-model.js';
import { NO_DECISIONS, PriceSnapshot, type RateQuery, type Rating } from '../domain/price-snapshot.js';
import type { RateCardRevision } from '../domain/rate-card.js';
import type { PriceStore } from './ports.js';

export type SeenAlias = Omit<ModelAlias, 'learned'>;

/** Names come from events: learning stops here, so that made-up names cannot fill the table. */
const MAX_LEARNED = 10_000;

export class PriceBook {
  private snapshot: PriceSnapshot;
  private revision: bigint | null = null;
  private learnedCount = 0;
  private readonly listeners: (() => void)[] = [];
  private refreshing: Promise<boolean> | null = null;

  constructor(
    private readonly database: Database,
    private readonly store: PriceStore,
    private readonly clock: Clock,
    file: BaseBookFile,
  ) {
    this.snapshot = new PriceSnapshot(new BaseBook(file), NO_DECISIONS);
  }

  /** Prices one call; never throws for what a sender may send. Costs about a microsecond. */
  rate(query: RateQuery): Rating {
    return this.snapshot.rate(query);
  }

  /**
   * Takes over what was decided since the last time; true when there was something. One small query when there was nothing.
   * @throws DomainError storage.unavailable; the prices known so far stay in force
   */
  async refresh(): Promise<boolean> {
    // A caller that just committed a decision must not be given the answer of a refresh that began before it.
    const running = this.refreshing;
    if (running !== null) await running.catch(() => false);
    this.refreshing ??= this.reload().finally(() => {
      this.refreshing = null;
    });
    return await this.refreshing;
  }

  /** "genai-prices-0.1.8#42": the list prices and how many decisions lie over them. */
  version(): string {
    return `${this.snapshot.book.version}#${this.revision ?? 0n}`;
  }

  /** Remembers what names turned out to be. Costs a look-up each when they are known already. */
  async learnAliases(seen: readonly SeenAlias[]): Promise<void> {
    const fresh = new Map<string, SeenAlias>();
    for (const alias of seen) {
      if (this.learnedCount + fresh.size >= MAX_LEARNED) break;
      if (!this.snapshot.aliases.has(alias)) fresh.set(JSON.stringify([alias.sourceId, alias.alias, alias.provider, alias.model]), alias);
    }
    if (fresh.size === 0) return;
    const at = this.clock.now();
    await this.database.transaction(async (tx) => {
      await this.store.lock(tx);
      await this.store.addLearnedAliases(
        tx,
        [...fresh.values()].map((alias) => ({ ...alias, learned: true, updatedAt: at })),
      );
    });
    await this.refresh();
  }

  /** Calls `listener` after every refresh that changed something. */
  onChange(listener: () => void): void {
    this.listeners.push(listener);
  }

  /** The model a provider and a name mean, or null when nothing prices it. */
  find(provider: string | null, model: string): PricedModel | null {
    return this.snapshot.find(provider, model);
  }

  /** Every priced model, by provider and name. */
  models(): readonly PricedModel[] {
    return this.snapshot.models();
  }

  /** What gateways call models, set and learned. */
  aliases(): readonly ModelAlias[] {
    return this.snapshot.aliases.all();
  }

  /** The rate card as it counts at `at`; undefined where there is none. */
  cardAt(rateCardId: string, at: Date): RateCardRevision | undefined {
    return this.snapshot.cardAt(rateCardId, at);
  }

  private async reload(): Promise<boolean> {
    const revision = await this.store.revision(this.database);
    if (revision === this.revision) return false;
    // Read after the revision: rows may be newer than it, which costs one more reload and never misses a decision.
    const decisions = await this.store.readAll(this.database);
    this.snapshot = new PriceSnapshot(this.snapshot.book, decisions);
    this.revision = revision;
    this.learnedCount = decisions.aliases.filter((alias) => alias.learned).length;
    for (const listener of this.listeners) listener();
    return true;
  }
}
