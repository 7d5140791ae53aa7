import type { Clock } from '../../kernel/index.js';
import type { AuditLog, ChangeContext } from '../../platform/audit/audit-log.js';
import type { Database } from '../../platform/postgres/database.js';
import type { ServiceKey } from '../domain/service-key.js';
import type { AuthenticateCaller } from './authenticate-caller.js';
import { keyEntry } from './create-service-key.js';
import type { ServiceKeyRepository } from './ports.js';

/** Ends a key for good: here at once, in other processes within a second. Revoking a revoked key changes nothing. */
export class RevokeServiceKey {
  constructor(
    private readonly database: Database,
    private readonly keys: ServiceKeyRepository,
    private readonly authenticate: AuthenticateCaller,
    private readonly audit: AuditLog,
    private readonly clock: Clock,
  ) {}

  /** The revoked key; null when there is none, or none of `onlyTenantId`. */
  async execute(input: { keyId: string; onlyTenantId: string | null; context: ChangeContext }): Promise<ServiceKey | null> {
    const revoked = await this.database.transaction(async (tx) => {
      const key = await this.keys.lock(tx, input.keyId);
      if (key === null || (input.onlyTenantId !== null && key.tenantId !== input.onlyTenantId)) return null;
      if (key.revokedAt !== null) return key;
      const at = this.clock.now();
      const after: ServiceKey = { ...key, revokedAt: at };
      await this.keys.revoke(tx, key.keyId, at);
      await this.audit.append(tx, keyEntry(after, { action: 'service_key.revoked', at, before: key, context: input.context }));
      return after;
    });
    this.authenticate.forget();
    return revoked;
  }
}
