import type { Database } from '../../platform/postgres/database.js';
import type { OverrideRevision } from '../domain/price-override.js';
import type { RateCardRevision } from '../domain/rate-card.js';
import type { PageOf, PriceStore, StoredAlias } from './ports.js';

/** What the operator decided, as stored: the latest revision of each, and every alias. */
export class ListPriceDecisions {
  constructor(
    private readonly database: Database,
    private readonly store: PriceStore,
  ) {}

  async overrides(page: PageOf<string>): Promise<OverrideRevision[]> {
    return await this.store.listOverrides(this.database, page);
  }

  /** All revisions, oldest first. */
  async overrideHistory(overrideId: string): Promise<OverrideRevision[]> {
    return await this.store.overrideRevisions(this.database, overrideId);
  }

  async rateCards(page: PageOf<string>): Promise<RateCardRevision[]> {
    return await this.store.listRateCards(this.database, page);
  }

  /** All revisions, oldest first. */
  async rateCardHistory(rateCardId: string): Promise<RateCardRevision[]> {
    return await this.store.rateCardRevisions(this.database, rateCardId);
  }

  async aliases(page: PageOf<readonly [alias: string, sourceId: string, provider: string, model: string]>): Promise<StoredAlias[]> {
    return await this.store.listAliases(this.database, page);
  }
}
