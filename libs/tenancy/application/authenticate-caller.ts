/**
 * Who a key belongs to. Nothing about a wrong key is told: malformed, unknown, expired and revoked all answer null. Answers are kept for at
 * most a second under the key's digest, so that a revocation reaches every process within that second.
 */
import { toWireId, type Clock } from '../../kernel/index.js';
import type { Database } from '../../platform/postgres/database.js';
import type { Caller } from '../domain/caller.js';
import { hashKey, isLive, publicIdOf, sameHash, SCOPES, type ServiceKey } from '../domain/service-key.js';
import { FreshCache, type MonotonicNow } from './fresh-cache.js';
import type { RecordKeyUse } from './record-key-use.js';
import type { ServiceKeyRepository } from './ports.js';

const ADMIN: Caller = { keyId: 'admin', actor: 'admin', scopes: new Set(SCOPES), tenantId: null, sourceId: null };

export class AuthenticateCaller {
  private readonly cache: FreshCache<ServiceKey | null>;
  private readonly adminHash: Buffer | null;

  constructor(
    private readonly database: Database,
    private readonly keys: ServiceKeyRepository,
    private readonly keyUse: RecordKeyUse,
    private readonly clock: Clock,
    /** The provisioned admin key (TOLLGATE_ADMIN_KEY), any text; null where there is none. */
    adminKey: string | null,
    now?: MonotonicNow,
  ) {
    this.adminHash = adminKey === null ? null : hashKey(adminKey);
    this.cache = new FreshCache(now);
  }

  /** The caller, or null. @throws DomainError storage.unavailable when the database is away and the key is not in the cache */
  async execute(rawKey: string): Promise<Caller | null> {
    const hash = hashKey(rawKey);
    if (this.adminHash !== null && sameHash(hash, this.adminHash)) return ADMIN;
    const key = await this.find(rawKey, hash);
    const at = this.clock.now();
    if (key === null || !isLive(key, at)) return null;
    this.keyUse.note(key, at);
    return callerOf(key);
  }

  /** Forgets what was read: a key was made or revoked in this process. */
  forget(): void {
    this.cache.clear();
  }

  private async find(rawKey: string, hash: Buffer): Promise<ServiceKey | null> {
    const cacheId = hash.toString('base64');
    const cached = this.cache.get(cacheId);
    if (cached !== undefined) return cached;
    // Noise is refused by its checksum, which costs as much as the digest: only what is not known is asked for it.
    const publicId = publicIdOf(rawKey);
    if (publicId === null) return null;
    const reading = this.cache.startReading();
    const row = await this.keys.findByPublicId(this.database, publicId);
    const key = row !== null && sameHash(row.secretHash, hash) ? row : null;
    reading.keep(cacheId, key);
    return key;
  }
}

function callerOf(key: ServiceKey): Caller {
  const keyId = toWireId('key', key.keyId);
  return { keyId, actor: `key:${keyId}`, scopes: new Set(key.scopes), tenantId: key.tenantId, sourceId: key.sourceId };
}
