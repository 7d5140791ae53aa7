import { DomainError, newUuid, toWireId, type Clock } from '../../kernel/index.js';
import type { AuditLog, ChangeContext } from '../../platform/audit/audit-log.js';
import type { Database } from '../../platform/postgres/database.js';
import { makeSecret, type Scope, type ServiceKey } from '../domain/service-key.js';
import { describeKey } from './audit-wire.js';
import type { AuthenticateCaller } from './authenticate-caller.js';
import type { ServiceKeyRepository } from './ports.js';

export interface NewServiceKey {
  readonly name: string;
  readonly scopes: readonly Scope[];
  readonly tenantId: string | null;
  readonly sourceId: string | null;
  readonly expiresAt: Date | null;
}

/** Makes a key. Its text is in the answer and nowhere else. */
export class CreateServiceKey {
  constructor(
    private readonly database: Database,
    private readonly keys: ServiceKeyRepository,
    private readonly authenticate: AuthenticateCaller,
    private readonly audit: AuditLog,
    private readonly clock: Clock,
    private readonly settings: { readonly keyEnvironment: string },
  ) {}

  /** @throws DomainError service_key.invalid when the tenant does not exist or the expiry is past */
  async execute(input: { key: NewServiceKey; context: ChangeContext }): Promise<{ key: ServiceKey; rawKey: string }> {
    const at = this.clock.now();
    const { expiresAt } = input.key;
    if (expiresAt !== null && expiresAt.getTime() <= at.getTime()) throw invalidKey('expires_at', 'must be in the future');
    const { rawKey, publicId, secretHash } = makeSecret(this.settings.keyEnvironment);
    const key: ServiceKey = {
      ...input.key,
      scopes: [...new Set(input.key.scopes)],
      keyId: newUuid(at),
      publicId,
      secretHash,
      replaces: null,
      createdAt: at,
      revokedAt: null,
      lastUsedAt: null,
    };
    await this.database.transaction(async (tx) => {
      if (!(await this.keys.insert(tx, key))) throw invalidKey('tenant_id', 'there is no such tenant');
      await this.audit.append(tx, keyEntry(key, { action: 'service_key.created', at, before: null, context: input.context }));
    });
    this.authenticate.forget();
    return { key, rawKey };
  }
}

/** The audit entry of a change to `after`. */
export function keyEntry(after: ServiceKey, change: { action: string; at: Date; before: ServiceKey | null; context: ChangeContext }) {
  return {
    at: change.at,
    actor: change.context.actor,
    action: change.action,
    entity: 'service_key',
    entityId: toWireId('key', after.keyId),
    tenantId: after.tenantId,
    before: change.before === null ? null : describeKey(change.before),
    after: describeKey(after),
    reason: null,
    requestId: change.context.requestId,
  };
}

function invalidKey(path: string, message: string): DomainError {
  return new DomainError({ code: 'service_key.invalid', kind: 'invalid', publicMessage: 'the key was not made', errors: [{ path, message }] });
}
