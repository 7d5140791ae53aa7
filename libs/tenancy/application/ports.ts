import type { Sql } from '../../platform/postgres/database.js';
import type { Plan } from '../domain/plan.js';
import type { ServiceKey } from '../domain/service-key.js';
import type { Tenant, TenantRecord } from '../domain/tenant.js';

export abstract class TenantRepository {
  abstract findMany(sql: Sql, tenantIds: readonly string[]): Promise<Tenant[]>;
  /** Reads the tenant and keeps others from changing it until the transaction ends. */
  abstract lock(tx: Sql, tenantId: string): Promise<TenantRecord | null>;
  /** Ordered by tenant id. */
  abstract list(sql: Sql, filter: TenantFilter): Promise<TenantRecord[]>;
  /** Inserts or replaces. False when its plan does not exist. */
  abstract save(tx: Sql, tenant: TenantRecord): Promise<boolean>;
  /** Inserts those that do not exist yet; returns their ids. */
  abstract insertNew(tx: Sql, tenants: readonly TenantRecord[]): Promise<string[]>;
  /** How many tenants were made from events since `since`; later callers wait until the transaction ends, so that the count stays true. */
  abstract lockAutoCreatedCount(tx: Sql, since: Date): Promise<number>;
}

export interface TenantFilter {
  readonly tenantId?: string | undefined;
  readonly autoCreated?: boolean | undefined;
  /** Ids after this one only. */
  readonly after?: string | undefined;
  readonly limit: number;
}

export abstract class PlanRepository {
  abstract find(sql: Sql, planId: string): Promise<Plan | null>;
  /** Reads the plan and keeps others from changing it until the transaction ends. */
  abstract lock(tx: Sql, planId: string): Promise<Plan | null>;
  /** Ordered by plan id. */
  abstract list(sql: Sql, filter: { after?: string | undefined; limit: number }): Promise<Plan[]>;
  abstract save(tx: Sql, plan: Plan): Promise<void>;
}

export abstract class ServiceKeyRepository {
  abstract findByPublicId(sql: Sql, publicId: string): Promise<ServiceKey | null>;
  /** Reads the key and keeps others from changing it until the transaction ends. */
  abstract lock(tx: Sql, keyId: string): Promise<ServiceKey | null>;
  /** Keys rotated from `keyId`. */
  abstract successors(tx: Sql, keyId: string): Promise<ServiceKey[]>;
  /** Newest first. */
  abstract list(sql: Sql, filter: { tenantId?: string | undefined; before?: string | undefined; limit: number }): Promise<ServiceKey[]>;
  /** False when its tenant does not exist. */
  abstract insert(tx: Sql, key: ServiceKey): Promise<boolean>;
  abstract revoke(tx: Sql, keyId: string, at: Date): Promise<void>;
  /** Notes when keys were last used, never moving a time back. */
  abstract markUsed(sql: Sql, uses: ReadonlyMap<string, Date>): Promise<void>;
}
