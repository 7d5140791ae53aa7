import type { Database } from '../../platform/postgres/database.js';
import type { TenantRecord } from '../domain/tenant.js';
import type { TenantFilter, TenantRepository } from './ports.js';

/** Tenants by id; reads `limit + 1` rows, so that the caller sees whether more follow. */
export class ListTenants {
  constructor(
    private readonly database: Database,
    private readonly tenants: TenantRepository,
  ) {}

  async execute(filter: TenantFilter): Promise<TenantRecord[]> {
    return await this.tenants.list(this.database, { ...filter, limit: filter.limit + 1 });
  }
}
