import type { Clock, Json } from '#libs/kernel/index.js';
import { DomainError } from '#libs/kernel/index.js';
import type { AuditLog, ChangeContext } from '#libs/platform/audit/audit-log.js';
import type { Database } from '#libs/platform/postgres/database.js';
import type { TenantDirectory } from '#libs/tenancy/index.js';
import type { Ladders } from '../domain/route.js';
import type { BudgetStore } from './budget-store.js';
import { EVERYBODY, type RuleBook } from './rule-book.js';

/** Replaces a tenant's ladders, or everybody's (''). */
export class PutRoutes {
  constructor(
    private readonly database: Database,
    private readonly store: BudgetStore,
    private readonly tenants: TenantDirectory,
    private readonly rules: RuleBook,
    private readonly audit: AuditLog,
    private readonly clock: Clock,
  ) {}

  /** @throws DomainError tenant.not_found */
  async execute(input: { tenantId: string; ladders: Ladders; context: ChangeContext }): Promise<Ladders> {
    await this.assertTenant(input.tenantId);
    await this.store.change(input.tenantId, async (tx) => {
      const before = await this.store.ladders(tx, input.tenantId);
      if (JSON.stringify(toJson(before)) === JSON.stringify(toJson(input.ladders))) return { changed: false, result: null };
      await this.store.replaceLadders(tx, input.tenantId, input.ladders);
      await this.audit.append(tx, {
        at: this.clock.now(),
        actor: input.context.actor,
        action: 'routes.replaced',
        entity: 'routes',
        entityId: input.tenantId === EVERYBODY ? 'global' : input.tenantId,
        tenantId: input.tenantId === EVERYBODY ? null : input.tenantId,
        before: toJson(before),
        after: toJson(input.ladders),
        reason: null,
        requestId: input.context.requestId,
      });
      return { changed: true, result: null };
    });
    await this.rules.refresh();
    return await this.store.ladders(this.database, input.tenantId);
  }

  /** @throws DomainError tenant.not_found */
  async read(tenantId: string): Promise<Ladders> {
    await this.assertTenant(tenantId);
    return await this.store.ladders(this.database, tenantId);
  }

  private async assertTenant(tenantId: string): Promise<void> {
    if (tenantId !== EVERYBODY && (await this.tenants.find(tenantId)) === null)
      throw new DomainError({ code: 'tenant.not_found', kind: 'not_found', publicMessage: 'there is no such tenant' });
  }
}

function toJson(ladders: Ladders): Json {
  return Object.fromEntries([...ladders].sort(([a], [b]) => (a < b ? -1 : 1)).map(([model, steps]) => [model, [...steps]]));
}
