/**
 * Keys of tenants as authorize asks for them, at most a second old: a revocation reaches every process within that second, and the process
 * that revoked at once.
 */
import { fromWireId, type Clock } from '../../kernel/index.js';
import type { Database } from '../../platform/postgres/database.js';
import type { ApiKey } from '../domain/api-key.js';
import { hashKey, isLive, publicIdOf, sameHash } from '../domain/service-key.js';
import type { ApiKeyStore } from './api-key-store.js';
import { FreshCache, type MonotonicNow } from './fresh-cache.js';

export class ApiKeyDirectory {
  private readonly cache: FreshCache<ApiKey | null>;

  constructor(
    private readonly database: Database,
    private readonly keys: ApiKeyStore,
    private readonly clock: Clock,
    now?: MonotonicNow,
  ) {
    this.cache = new FreshCache(now);
  }

  /** The live key with this text; null for anything else, and nothing is told about why. @throws DomainError storage.unavailable */
  async findByText(rawKey: string): Promise<ApiKey | null> {
    const publicId = publicIdOf(rawKey);
    if (publicId === null) return null;
    const hash = hashKey(rawKey);
    const key = await this.read(`text ${hash.toString('base64')}`, async () => {
      const row = await this.keys.findByPublicId(this.database, publicId);
      return row !== null && sameHash(row.secretHash, hash) ? row : null;
    });
    return key !== null && isLive(key, this.clock.now()) ? key : null;
  }

  /**
   * The key behind a wire id, live or not, or null: an id that is none of ours is a gateway's own name for a key.
   * @throws DomainError storage.unavailable
   */
  async findById(wireId: string): Promise<{ readonly key: ApiKey; readonly live: boolean } | null> {
    const apiKeyId = fromWireId('ak', wireId);
    if (apiKeyId === null) return null;
    const key = await this.read(`id ${apiKeyId}`, async () => await this.keys.find(this.database, apiKeyId));
    return key === null ? null : { key, live: isLive(key, this.clock.now()) };
  }

  /** Forgets what was read: a key was made or revoked in this process. */
  forget(): void {
    this.cache.clear();
  }

  private async read(cacheId: string, load: () => Promise<ApiKey | null>): Promise<ApiKey | null> {
    const cached = this.cache.get(cacheId);
    if (cached !== undefined) return cached;
    const reading = this.cache.startReading();
    const key = await load();
    reading.keep(cacheId, key);
    return key;
  }
}
