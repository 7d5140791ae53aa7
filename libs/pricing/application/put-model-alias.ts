import type { Clock } from '../../kernel/index.js';
import type { AuditLog, ChangeContext } from '../../platform/audit/audit-log.js';
import type { Database } from '../../platform/postgres/database.js';
import { describeAlias } from './describe-prices.js';
import type { PriceStore, StoredAlias } from './ports.js';
import type { PriceBook } from './price-book.js';

/** Says what a gateway's name for a model is, at one source or at all; it stands above whatever was learned. The same again writes nothing. */
export class PutModelAlias {
  constructor(
    private readonly database: Database,
    private readonly store: PriceStore,
    private readonly book: PriceBook,
    private readonly audit: AuditLog,
    private readonly clock: Clock,
  ) {}

  async execute(input: { alias: string; sourceId: string | null; provider: string; model: string; context: ChangeContext }): Promise<StoredAlias> {
    const sourceId = input.sourceId ?? '';
    const alias = await this.database.transaction(async (tx) => {
      await this.store.lock(tx);
      const before = await this.store.findSetAlias(tx, sourceId, input.alias);
      if (before !== null && before.provider === input.provider && before.model === input.model) return before;
      const after: StoredAlias = { sourceId, alias: input.alias, provider: input.provider, model: input.model, learned: false, updatedAt: this.clock.now() };
      await this.store.setAlias(tx, after);
      await this.audit.append(tx, {
        at: after.updatedAt,
        actor: input.context.actor,
        action: before === null ? 'model_alias.created' : 'model_alias.updated',
        entity: 'model_alias',
        entityId: input.alias,
        tenantId: null,
        before: before === null ? null : describeAlias(before),
        after: describeAlias(after),
        reason: null,
        requestId: input.context.requestId,
      });
      return after;
    });
    await this.book.refresh();
    return alias;
  }
}
