import { DomainError, type Clock, type FieldProblem } from '../../kernel/index.js';
import type { AuditLog, ChangeContext } from '../../platform/audit/audit-log.js';
import type { Database } from '../../platform/postgres/database.js';
import { readPrices } from '../domain/price-bounds.js';
import { MARKUP_RULE, parseMarkup, type Markup, type RateCardPrices, type RateCardRevision } from '../domain/rate-card.js';
import { describeRateCard } from './describe-prices.js';
import type { PriceStore } from './ports.js';
import type { PriceBook } from './price-book.js';

export interface PutRateCardInput {
  readonly rateCardId: string;
  /** Decimal percent over cost, such as "15" or "-10.5". */
  readonly markupPercent: string;
  readonly prices: readonly { readonly provider: string | null; readonly model: string | null; readonly prices: Readonly<Record<string, string>> }[];
  readonly reason: string | null;
  readonly context: ChangeContext;
}

/** Writes the next revision of a rate card, which counts for what is consumed from now on. The same card again writes nothing. */
export class PutRateCard {
  constructor(
    private readonly database: Database,
    private readonly store: PriceStore,
    private readonly book: PriceBook,
    private readonly audit: AuditLog,
    private readonly clock: Clock,
  ) {}

  /** @throws DomainError price.invalid */
  async execute(input: PutRateCardInput): Promise<RateCardRevision> {
    const { markup, prices } = readDecision(input);
    const card = await this.database.transaction(async (tx) => {
      await this.store.lock(tx);
      const before = (await this.store.rateCardRevisions(tx, input.rateCardId)).at(-1);
      const after: RateCardRevision = { rateCardId: input.rateCardId, revision: (before?.revision ?? 0) + 1, markup, prices, createdAt: this.clock.now() };
      if (before !== undefined && sameTerms(before, after)) return before;
      await this.store.insertRateCard(tx, after);
      await this.audit.append(tx, {
        at: after.createdAt,
        actor: input.context.actor,
        action: before === undefined ? 'rate_card.created' : 'rate_card.updated',
        entity: 'rate_card',
        entityId: input.rateCardId,
        tenantId: null,
        before: before === undefined ? null : describeRateCard(before),
        after: describeRateCard(after),
        reason: input.reason,
        requestId: input.context.requestId,
      });
      return after;
    });
    await this.book.refresh();
    return card;
  }
}

function readDecision(input: PutRateCardInput): { markup: Markup; prices: RateCardPrices[] } {
  const problems: FieldProblem[] = [];
  const markup = parseMarkup(input.markupPercent);
  if (markup === null) problems.push({ path: 'markup_percent', message: MARKUP_RULE });
  const prices = input.prices.map((entry, index): RateCardPrices => {
    const read = readPrices(entry.prices, `prices[${index}].prices`);
    problems.push(...read.problems);
    return { provider: entry.provider, model: entry.model, prices: read.prices };
  });
  if (markup === null || problems.length > 0)
    throw new DomainError({ code: 'price.invalid', kind: 'invalid', publicMessage: 'the rate card does not fit', errors: problems });
  return { markup, prices };
}

function sameTerms(a: RateCardRevision, b: RateCardRevision): boolean {
  return JSON.stringify(describeRateCard({ ...a, revision: 0 })) === JSON.stringify(describeRateCard({ ...b, revision: 0 }));
}
