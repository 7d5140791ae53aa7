import { Inject, Module, type OnApplicationShutdown, type OnModuleInit } from '@nestjs/common';
import { Clock, SECOND_MS } from '../kernel/index.js';
import { AuditLog } from '../platform/audit/audit-log.js';
import { Logger } from '../platform/logging/logger.js';
import { useCase } from '../platform/nest/use-case.js';
import { Database } from '../platform/postgres/database.js';
import { ListPriceDecisions } from './application/list-price-decisions.js';
import { ListPrices } from './application/list-prices.js';
import { PriceStore } from './application/ports.js';
import { PriceBook } from './application/price-book.js';
import { PutModelAlias } from './application/put-model-alias.js';
import { PutPriceOverride } from './application/put-price-override.js';
import { PutRateCard } from './application/put-rate-card.js';
import { readBaseBook } from './catalogue/read-base-book.js';
import { PostgresPriceStore } from './postgres/price-store.js';

const BASE_BOOK = Symbol('tollgate.base-price-book');
/** A decision made in one process is in force in the others after this. */
const REFRESH_INTERVAL_MS = SECOND_MS;

@Module({
  providers: [
    { provide: BASE_BOOK, useFactory: readBaseBook },
    { provide: PriceStore, useClass: PostgresPriceStore },
    useCase(PriceBook, [Database, PriceStore, Clock, BASE_BOOK]),
    useCase(PutPriceOverride, [Database, PriceStore, PriceBook, AuditLog, Clock]),
    useCase(PutRateCard, [Database, PriceStore, PriceBook, AuditLog, Clock]),
    useCase(PutModelAlias, [Database, PriceStore, PriceBook, AuditLog, Clock]),
    useCase(ListPrices, [PriceBook, Clock]),
    useCase(ListPriceDecisions, [Database, PriceStore]),
  ],
  exports: [PriceBook, PutPriceOverride, PutRateCard, PutModelAlias, ListPrices, ListPriceDecisions],
})
export class PricingModule implements OnModuleInit, OnApplicationShutdown {
  private timer: NodeJS.Timeout | undefined;
  private refreshing: Promise<void> = Promise.resolve();

  constructor(
    @Inject(PriceBook) private readonly book: PriceBook,
    @Inject(Logger) private readonly logger: Logger,
  ) {}

  /** The first prices are there before the first request; without them nothing may be rated. */
  async onModuleInit(): Promise<void> {
    await this.book.refresh();
    this.timer = setInterval(() => {
      this.refreshing = this.refresh();
    }, REFRESH_INTERVAL_MS);
    this.timer.unref();
  }

  async onApplicationShutdown(): Promise<void> {
    clearInterval(this.timer);
    await this.refreshing;
  }

  private async refresh(): Promise<void> {
    await this.book.refresh().catch((error: unknown) => this.logger.warn({ error }, 'prices were not refreshed; the last ones stay in force'));
  }
}
