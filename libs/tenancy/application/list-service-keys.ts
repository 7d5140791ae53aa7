import type { Database } from '../../platform/postgres/database.js';
import type { ServiceKey } from '../domain/service-key.js';
import type { ServiceKeyRepository } from './ports.js';

/** Keys, newest first; reads `limit + 1` rows, so that the caller sees whether more follow. */
export class ListServiceKeys {
  constructor(
    private readonly database: Database,
    private readonly keys: ServiceKeyRepository,
  ) {}

  async execute(filter: { tenantId?: string | undefined; before?: string | undefined; limit: number }): Promise<ServiceKey[]> {
    return await this.keys.list(this.database, { ...filter, limit: filter.limit + 1 });
  }
}
