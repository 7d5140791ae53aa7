import { DomainError, isExternalId, type Clock } from '../../kernel/index.js';
import type { AuditLog, ChangeContext } from '../../platform/audit/audit-log.js';
import type { Database, Sql } from '../../platform/postgres/database.js';
import { changeTenant, registerTenant, sameSettings, type TenantChange, type TenantRecord } from '../domain/tenant.js';
import { describeTenant } from './audit-wire.js';
import type { TenantRepository } from './ports.js';
import type { TenantDirectory } from './tenant-directory.js';

/** Creates a tenant or changes the named fields of one, audited in the same transaction. A change to the same state writes nothing. */
export class PutTenant {
  constructor(
    private readonly database: Database,
    private readonly tenants: TenantRepository,
    private readonly directory: TenantDirectory,
    private readonly audit: AuditLog,
    private readonly clock: Clock,
  ) {}

  /** @throws DomainError tenant.reserved, tenant.invalid (unknown plan, unknown time zone) */
  async execute(input: { tenantId: string; change: TenantChange; context: ChangeContext }): Promise<{ tenant: TenantRecord; created: boolean }> {
    if (!isExternalId(input.tenantId)) throw invalidTenant('tenant_id', 'is no valid id');
    const outcome = await this.database.transaction(async (tx) => {
      const before = await this.tenants.lock(tx, input.tenantId);
      const at = this.clock.now();
      const after = before === null ? registerTenant(input.tenantId, input.change, at) : changeTenant(before, input.change, at);
      if (before !== null && sameSettings(before, after)) return { created: false };
      if (!(await this.tenants.save(tx, after))) throw invalidTenant('plan_id', 'there is no such plan');
      await this.writeAudit(tx, before, after, input.context);
      return { created: before === null };
    });
    this.directory.forget();
    const [tenant] = await this.tenants.list(this.database, { tenantId: input.tenantId, limit: 1 });
    if (tenant === undefined) throw new Error('a tenant that was just written is missing');
    return { tenant, ...outcome };
  }

  private async writeAudit(tx: Sql, before: TenantRecord | null, after: TenantRecord, context: ChangeContext): Promise<void> {
    await this.audit.append(tx, {
      at: after.updatedAt,
      actor: context.actor,
      action: before === null ? 'tenant.created' : 'tenant.updated',
      entity: 'tenant',
      entityId: after.tenantId,
      tenantId: after.tenantId,
      before: before === null ? null : describeTenant(before),
      after: describeTenant(after),
      reason: null,
      requestId: context.requestId,
    });
  }
}

function invalidTenant(path: string, message: string): DomainError {
  return new DomainError({ code: 'tenant.invalid', kind: 'invalid', publicMessage: 'the tenant was not changed', errors: [{ path, message }] });
}
