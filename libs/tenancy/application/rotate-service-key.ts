import { newUuid, type Clock } from '../../kernel/index.js';
import type { AuditLog, ChangeContext } from '../../platform/audit/audit-log.js';
import type { Database } from '../../platform/postgres/database.js';
import { isLive, makeSecret, type ServiceKey } from '../domain/service-key.js';
import type { AuthenticateCaller } from './authenticate-caller.js';
import { keyEntry } from './create-service-key.js';
import type { ServiceKeyRepository } from './ports.js';

export type RotationOutcome =
  { readonly ok: true; readonly key: ServiceKey; readonly rawKey: string } | { readonly ok: false; readonly reason: 'not_found' | 'not_live' | 'two_live' };

/**
 * Makes a second key with the same rights, so that its holder can switch without an outage; the old one lives until it is revoked.
 * At most two of one line live at once: a third would mean that somebody forgot to finish the last rotation.
 */
export class RotateServiceKey {
  constructor(
    private readonly database: Database,
    private readonly keys: ServiceKeyRepository,
    private readonly authenticate: AuthenticateCaller,
    private readonly audit: AuditLog,
    private readonly clock: Clock,
    private readonly settings: { readonly keyEnvironment: string },
  ) {}

  async execute(input: { keyId: string; onlyTenantId: string | null; context: ChangeContext }): Promise<RotationOutcome> {
    const outcome = await this.database.transaction(async (tx): Promise<RotationOutcome> => {
      const old = await this.keys.lock(tx, input.keyId);
      if (old === null || (input.onlyTenantId !== null && old.tenantId !== input.onlyTenantId)) return { ok: false, reason: 'not_found' };
      const at = this.clock.now();
      if (!isLive(old, at)) return { ok: false, reason: 'not_live' };
      const predecessor = old.replaces === null ? null : await this.keys.lock(tx, old.replaces);
      const relatives = [...(predecessor === null ? [] : [predecessor]), ...(await this.keys.successors(tx, old.keyId))];
      if (relatives.some((key) => isLive(key, at))) return { ok: false, reason: 'two_live' };
      const { rawKey, publicId, secretHash } = makeSecret(this.settings.keyEnvironment);
      const key: ServiceKey = { ...old, keyId: newUuid(at), publicId, secretHash, replaces: old.keyId, createdAt: at, revokedAt: null, lastUsedAt: null };
      await this.keys.insert(tx, key);
      await this.audit.append(tx, keyEntry(key, { action: 'service_key.rotated', at, before: old, context: input.context }));
      return { ok: true, key, rawKey };
    });
    this.authenticate.forget();
    return outcome;
  }
}
