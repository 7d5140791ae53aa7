import { DomainError, newUuid, toWireId, type Clock, type Json } from '../../kernel/index.js';
import type { AuditLog, ChangeContext } from '../../platform/audit/audit-log.js';
import type { Database, Sql } from '../../platform/postgres/database.js';
import type { ApiKey, ApiKeySettings } from '../domain/api-key.js';
import { isLive, makeSecret } from '../domain/service-key.js';
import type { ApiKeyDirectory } from './api-key-directory.js';
import type { ApiKeyStore } from './api-key-store.js';

interface KeyOf {
  readonly tenantId: string;
  readonly apiKeyId: string;
  readonly context: ChangeContext;
}

/** The label inside the text of these keys: `tg_app_...`. */
const KEY_ENVIRONMENT = 'app';

abstract class ApiKeyChange {
  constructor(
    protected readonly database: Database,
    protected readonly keys: ApiKeyStore,
    private readonly directory: ApiKeyDirectory,
    private readonly audit: AuditLog,
    protected readonly clock: Clock,
  ) {}

  protected async change<T>(work: (tx: Sql, at: Date) => Promise<T>): Promise<T> {
    const result = await this.database.transaction(async (tx) => await work(tx, this.clock.now()));
    this.directory.forget();
    return result;
  }

  protected async note(tx: Sql, action: string, at: Date, context: ChangeContext, before: ApiKey | null, after: ApiKey): Promise<void> {
    await this.audit.append(tx, {
      at,
      actor: context.actor,
      action,
      entity: 'api_key',
      entityId: toWireId('ak', after.apiKeyId),
      tenantId: after.tenantId,
      before: before === null ? null : describe(before),
      after: describe(after),
      reason: null,
      requestId: context.requestId,
    });
  }

  protected async lockOwn(tx: Sql, { tenantId, apiKeyId }: KeyOf): Promise<ApiKey> {
    const key = await this.keys.lock(tx, apiKeyId);
    if (key === null || key.tenantId !== tenantId) throw keyNotFound();
    return key;
  }
}

function keyNotFound(): DomainError {
  return new DomainError({ code: 'api_key.not_found', kind: 'not_found', publicMessage: 'there is no such key' });
}

/** Makes a key. Its text is in the answer and nowhere else. */
export class CreateApiKey extends ApiKeyChange {
  /** @throws DomainError tenant.not_found, api_key.invalid when the expiry is past */
  async execute(input: { tenantId: string; settings: ApiKeySettings; context: ChangeContext }): Promise<{ key: ApiKey; rawKey: string }> {
    return await this.change(async (tx, at) => {
      const { expiresAt } = input.settings;
      if (expiresAt !== null && expiresAt.getTime() <= at.getTime()) {
        const errors = [{ path: 'expires_at', message: 'must be in the future' }];
        throw new DomainError({ code: 'api_key.invalid', kind: 'invalid', publicMessage: 'the key was not made', errors });
      }
      const { rawKey, publicId, secretHash } = makeSecret(KEY_ENVIRONMENT);
      const key: ApiKey = {
        ...input.settings,
        apiKeyId: newUuid(at),
        publicId,
        secretHash,
        tenantId: input.tenantId,
        replaces: null,
        createdAt: at,
        revokedAt: null,
      };
      if (!(await this.keys.insert(tx, key))) throw new DomainError({ code: 'tenant.not_found', kind: 'not_found', publicMessage: 'there is no such tenant' });
      await this.note(tx, 'api_key.created', at, input.context, null, key);
      return { key, rawKey };
    });
  }
}

/** Ends a key for good: here at once, in other processes within a second. Revoking a revoked key changes nothing. */
export class RevokeApiKey extends ApiKeyChange {
  /** @throws DomainError api_key.not_found */
  async execute(input: KeyOf): Promise<ApiKey> {
    return await this.change(async (tx, at) => {
      const key = await this.lockOwn(tx, input);
      if (key.revokedAt !== null) return key;
      const after: ApiKey = { ...key, revokedAt: at };
      await this.keys.revoke(tx, key.apiKeyId, at);
      await this.note(tx, 'api_key.revoked', at, input.context, key, after);
      return after;
    });
  }
}

/**
 * Makes a second key with the same settings and its own id; the old one lives until it is revoked. At most two of one line live at once.
 * Limits that name the old id do not count for the new one: name both, or count by assistant or environment. A key with a balance of its own
 * is not rotated, for the balance is its id's: the new key would be another allowance.
 */
export class RotateApiKey extends ApiKeyChange {
  /** @throws DomainError api_key.not_found, api_key.not_live (409), api_key.two_live (409), api_key.prepaid (409) */
  async execute(input: KeyOf): Promise<{ key: ApiKey; rawKey: string }> {
    return await this.change(async (tx, at) => {
      const old = await this.lockOwn(tx, input);
      if (!isLive(old, at)) throw new DomainError({ code: 'api_key.not_live', kind: 'conflict', publicMessage: 'a revoked or expired key cannot be rotated' });
      if (old.prepaid)
        throw new DomainError({
          code: 'api_key.prepaid',
          kind: 'conflict',
          publicMessage: 'a key with its own balance cannot be rotated: make another with what is left as prepaid_usd, and revoke this one',
        });
      const predecessor = old.replaces === null ? null : await this.keys.lock(tx, old.replaces);
      const relatives = [...(predecessor === null ? [] : [predecessor]), ...(await this.keys.successors(tx, old.apiKeyId))];
      if (relatives.some((key) => isLive(key, at)))
        throw new DomainError({ code: 'api_key.two_live', kind: 'conflict', publicMessage: 'two keys of this line live already: revoke one first' });
      const { rawKey, publicId, secretHash } = makeSecret(KEY_ENVIRONMENT);
      const key: ApiKey = { ...old, apiKeyId: newUuid(at), publicId, secretHash, replaces: old.apiKeyId, createdAt: at, revokedAt: null };
      await this.keys.insert(tx, key);
      await this.note(tx, 'api_key.rotated', at, input.context, old, key);
      return { key, rawKey };
    });
  }
}

/** Reads one of a tenant's keys. */
export class FindApiKey {
  constructor(
    private readonly database: Database,
    private readonly keys: ApiKeyStore,
  ) {}

  /** @throws DomainError api_key.not_found */
  async execute(input: Pick<KeyOf, 'tenantId' | 'apiKeyId'>): Promise<ApiKey> {
    const key = await this.keys.find(this.database, input.apiKeyId);
    if (key === null || key.tenantId !== input.tenantId) throw keyNotFound();
    return key;
  }
}

export class ListApiKeys {
  constructor(
    private readonly database: Database,
    private readonly keys: ApiKeyStore,
  ) {}

  /** Newest first. */
  async execute(filter: { tenantId: string; before: string | null; limit: number }): Promise<ApiKey[]> {
    return await this.keys.list(this.database, filter);
  }
}

function describe(key: ApiKey): Json {
  return {
    name: key.name,
    app: key.app,
    assistant_id: key.assistantId,
    workflow: key.workflow,
    environment: key.environment,
    models: key.models === null ? null : [...key.models],
    allow_critical: key.allowCritical,
    prepaid: key.prepaid,
    replaces: key.replaces === null ? null : toWireId('ak', key.replaces),
    expires_at: key.expiresAt?.toISOString() ?? null,
    revoked_at: key.revokedAt?.toISOString() ?? null,
  };
}
