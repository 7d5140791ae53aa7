/**
 * The tenants as every other context reads them: cached for at most a second. Tenants first seen in events are made here, at most so many
 * an hour in all processes together, because an id anyone can send must not fill the database.
 */
import { HOUR_MS, isExternalId, type Clock } from '../../kernel/index.js';
import type { AuditLog } from '../../platform/audit/audit-log.js';
import type { Database, Sql } from '../../platform/postgres/database.js';
import { autoCreateTenant, type Tenant } from '../domain/tenant.js';
import { FreshCache } from './fresh-cache.js';
import { describeTenant } from './audit-wire.js';
import type { TenantRepository } from './ports.js';
import type { SettingsRevision } from './settings-revision.js';

const AUTO_CREATE_ACTOR = 'system:events';

export class TenantDirectory {
  private readonly cache: FreshCache<Tenant | null>;
  private wanted = new Set<string>();
  private nextRead: Promise<ReadonlyMap<string, Tenant>> | null = null;

  constructor(
    private readonly database: Database,
    private readonly tenants: TenantRepository,
    private readonly audit: AuditLog,
    private readonly clock: Clock,
    private readonly settings: { readonly newTenantsPerHour: number },
    revision: SettingsRevision,
  ) {
    this.cache = new FreshCache(revision);
  }

  async find(tenantId: string): Promise<Tenant | null> {
    const cached = this.cache.get(tenantId);
    return cached === undefined ? ((await this.findMany([tenantId])).get(tenantId) ?? null) : cached;
  }

  /** The tenants among `ids` that exist. */
  async findMany(ids: readonly string[]): Promise<ReadonlyMap<string, Tenant>> {
    const { found, missing } = this.known(ids);
    if (missing.size === 0) return found;
    const read = await this.readTogether(missing);
    for (const id of missing) {
      const tenant = read.get(id);
      if (tenant) found.set(id, tenant);
    }
    return found;
  }

  /**
   * As {@link findMany}, for a transaction that others wait for: what is not known is read on its own connection. One that asked for a second
   * connection could wait for those who hold them all and wait for it.
   */
  async findManyInside(tx: Sql, ids: readonly string[]): Promise<ReadonlyMap<string, Tenant>> {
    const { found, missing } = this.known(ids);
    if (missing.size === 0) return found;
    const reading = this.cache.startReading();
    for (const tenant of await this.tenants.findMany(tx, [...missing])) found.set(tenant.tenantId, tenant);
    for (const id of missing) reading.keep(id, found.get(id) ?? null);
    return found;
  }

  /** What the cache says of `ids`, and which of them have to be read. */
  private known(ids: readonly string[]): { found: Map<string, Tenant>; missing: Set<string> } {
    const found = new Map<string, Tenant>();
    const missing = new Set<string>();
    for (const id of ids) {
      const cached = this.cache.get(id);
      // What is no valid id is no tenant's, and some of it PostgreSQL would not even take as text.
      if (cached === undefined && isExternalId(id)) missing.add(id);
      else if (cached) found.set(id, cached);
    }
    return { found, missing };
  }

  /** One query for everybody who misses something in this turn of the event loop: after a change a thousand tenants are read again at once. */
  private async readTogether(ids: ReadonlySet<string>): Promise<ReadonlyMap<string, Tenant>> {
    for (const id of ids) this.wanted.add(id);
    this.nextRead ??= new Promise<void>((resolve) => setImmediate(resolve)).then(async () => await this.readWanted());
    return await this.nextRead;
  }

  private async readWanted(): Promise<ReadonlyMap<string, Tenant>> {
    const ids = [...this.wanted];
    this.wanted = new Set();
    this.nextRead = null;
    const known = new Map<string, Tenant>();
    const unread: string[] = [];
    for (const id of ids) {
      const cached = await this.cache.find(id);
      if (cached === undefined) unread.push(id);
      else if (cached !== null) known.set(id, cached);
    }
    if (unread.length === 0) return known;
    const reading = this.cache.startReading();
    const tenants = new Map((await this.tenants.findMany(this.database, unread)).map((tenant) => [tenant.tenantId, tenant]));
    for (const id of unread) reading.keep(id, tenants.get(id) ?? null);
    return new Map([...known, ...tenants]);
  }

  /**
   * Makes the tenants that do not exist: postpaid, shadow, auto_created. Returns the ids of `ids` that exist afterwards; one that is no valid
   * id, or that the hourly limit left out, is missing from it.
   */
  async createFromEvents(ids: readonly string[]): Promise<ReadonlySet<string>> {
    const existing = new Set((await this.findMany(ids)).keys());
    // Sorted, so that two processes that create the same tenants wait for each other instead of deadlocking.
    const wanted = [...new Set(ids)].filter((id) => !existing.has(id) && isExternalId(id)).sort();
    if (wanted.length === 0) return existing;
    const present = await this.database.transaction(async (tx) => {
      const at = this.clock.now();
      const madeThisHour = await this.tenants.lockAutoCreatedCount(tx, new Date(at.getTime() - HOUR_MS));
      // Read again under the lock: another process may have made them just now, and they must not count twice.
      const already = (await this.tenants.findMany(tx, wanted)).map((tenant) => tenant.tenantId);
      const known = new Set(already);
      const allowed = wanted.filter((id) => !known.has(id)).slice(0, Math.max(0, this.settings.newTenantsPerHour - madeThisHour));
      const tenants = allowed.map((id) => autoCreateTenant(id, at));
      const created = new Set(await this.tenants.insertNew(tx, tenants));
      const entries = tenants
        .filter((tenant) => created.has(tenant.tenantId))
        .map((tenant) => ({
          at,
          actor: AUTO_CREATE_ACTOR,
          action: 'tenant.auto_created',
          entity: 'tenant',
          entityId: tenant.tenantId,
          tenantId: tenant.tenantId,
          before: null,
          after: describeTenant(tenant),
          reason: null,
          requestId: null,
        }));
      await this.audit.appendMany(tx, entries);
      return [...already, ...allowed];
    });
    this.cache.clear();
    return new Set([...existing, ...present]);
  }

  /** Forgets what was read: a tenant or plan was changed in this process. */
  forget(): void {
    this.cache.clear();
  }
}
