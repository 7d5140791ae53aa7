import type { Sql } from '../../platform/postgres/database.js';
import type { ModelAlias } from '../domain/model-alias.js';
import type { OverrideRevision } from '../domain/price-override.js';
import type { PriceDecisions } from '../domain/price-snapshot.js';
import type { RateCardRevision } from '../domain/rate-card.js';

/** What the operator decided about prices. Every write takes {@link lock} first, which orders decisions and counts them. */
export abstract class PriceStore {
  /** Counts up with every decision, in whatever process it was made. */
  abstract revision(sql: Sql): Promise<bigint>;
  abstract readAll(sql: Sql): Promise<PriceDecisions>;
  /** Begins a decision: later ones wait for this transaction, and everybody's next refresh sees that something changed. */
  abstract lock(tx: Sql): Promise<void>;

  /** All revisions, oldest first. */
  abstract overrideRevisions(sql: Sql, overrideId: string): Promise<OverrideRevision[]>;
  abstract insertOverride(tx: Sql, override: OverrideRevision): Promise<void>;
  /** Latest revision of each, by id. */
  abstract listOverrides(sql: Sql, page: PageOf<string>): Promise<OverrideRevision[]>;

  /** All revisions, oldest first. */
  abstract rateCardRevisions(sql: Sql, rateCardId: string): Promise<RateCardRevision[]>;
  abstract insertRateCard(tx: Sql, card: RateCardRevision): Promise<void>;
  /** Latest revision of each, by id. */
  abstract listRateCards(sql: Sql, page: PageOf<string>): Promise<RateCardRevision[]>;

  /** What was set for the alias at the source, or null. */
  abstract findSetAlias(sql: Sql, sourceId: string, alias: string): Promise<StoredAlias | null>;
  /** Replaces what was set for the alias at the source; what was learned stays. */
  abstract setAlias(tx: Sql, alias: StoredAlias): Promise<void>;
  /** Adds those not there yet; returns how many were new. */
  abstract addLearnedAliases(tx: Sql, aliases: readonly StoredAlias[]): Promise<number>;
  abstract listAliases(sql: Sql, page: PageOf<readonly [alias: string, sourceId: string, provider: string, model: string]>): Promise<StoredAlias[]>;
}

export interface StoredAlias extends ModelAlias {
  readonly updatedAt: Date;
}

export interface PageOf<Position> {
  readonly after: Position | null;
  readonly limit: number;
}
