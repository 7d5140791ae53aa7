/**
 * Who a key belongs to. Nothing about a wrong key is told: malformed, unknown, expired and revoked all answer null. Answers are kept for at
 * most a second under the key's digest, so that a revocation reaches every process within that second.
 */
import { hash } from 'node:crypto';
import { toWireId, type Clock } from '../../kernel/index.js';
import type { Database } from '../../platform/postgres/database.js';
import type { Caller } from '../domain/caller.js';
import { hashKey, isLive, publicIdOf, sameHash, SCOPES, type ServiceKey } from '../domain/service-key.js';
import { FreshCache } from './fresh-cache.js';
import type { RecordKeyUse } from './record-key-use.js';
import type { ServiceKeyRepository } from './ports.js';
import type { SettingsRevision } from './settings-revision.js';

const ADMIN: Caller = { keyId: 'admin', actor: 'admin', scopes: new Set(SCOPES), tenantId: null, sourceId: null };

/** A live or dead key together with what its holder may do, made once. */
interface KnownKey {
  readonly key: ServiceKey;
  readonly caller: Caller;
}

export class AuthenticateCaller {
  private readonly cache: FreshCache<KnownKey | null>;
  private readonly adminHash: Buffer | null;

  constructor(
    private readonly database: Database,
    private readonly keys: ServiceKeyRepository,
    private readonly keyUse: RecordKeyUse,
    private readonly clock: Clock,
    /** The provisioned admin key (TOLLGATE_ADMIN_KEY), any text; null where there is none. */
    adminKey: string | null,
    revision: SettingsRevision,
  ) {
    this.adminHash = adminKey === null ? null : hashKey(adminKey);
    this.cache = new FreshCache(revision);
  }

  /** The caller, or null. @throws DomainError storage.unavailable when the database is away and the key is not in the cache */
  async execute(rawKey: string): Promise<Caller | null> {
    const digest = hash('sha256', rawKey, 'base64');
    const known = this.cache.get(digest) ?? (await this.find(rawKey, digest));
    if (known === 'admin') return ADMIN;
    const at = this.clock.now();
    if (known === null || !isLive(known.key, at)) return null;
    this.keyUse.note(known.key, at);
    return known.caller;
  }

  /** Forgets what was read: a key was made or revoked in this process. */
  forget(): void {
    this.cache.clear();
  }

  private async find(rawKey: string, digest: string): Promise<KnownKey | 'admin' | null> {
    const secretHash = Buffer.from(digest, 'base64');
    if (this.adminHash !== null && sameHash(secretHash, this.adminHash)) return 'admin';
    // Noise is refused by its checksum, without asking the database whether anything changed.
    const publicId = publicIdOf(rawKey);
    if (publicId === null) return null;
    const cached = await this.cache.find(digest);
    if (cached !== undefined) return cached;
    const reading = this.cache.startReading();
    const row = await this.keys.findByPublicId(this.database, publicId);
    const known = row !== null && sameHash(row.secretHash, secretHash) ? { key: row, caller: callerOf(row) } : null;
    reading.keep(digest, known);
    return known;
  }
}

function callerOf(key: ServiceKey): Caller {
  const keyId = toWireId('key', key.keyId);
  return { keyId, actor: `key:${keyId}`, scopes: new Set(key.scopes), tenantId: key.tenantId, sourceId: key.sourceId };
}
