import type { Sql } from '../../platform/postgres/database.js';
import type { ApiKey } from '../domain/api-key.js';

export abstract class ApiKeyStore {
  abstract findByPublicId(sql: Sql, publicId: string): Promise<ApiKey | null>;
  abstract find(sql: Sql, apiKeyId: string): Promise<ApiKey | null>;
  /** Reads the key and keeps others from changing it until the transaction ends. */
  abstract lock(tx: Sql, apiKeyId: string): Promise<ApiKey | null>;
  /** Keys rotated from it. */
  abstract successors(tx: Sql, apiKeyId: string): Promise<ApiKey[]>;
  /** Newest first. */
  abstract list(sql: Sql, filter: { tenantId: string; before: string | null; limit: number }): Promise<ApiKey[]>;
  /** False when its tenant does not exist. */
  abstract insert(tx: Sql, key: ApiKey): Promise<boolean>;
  abstract revoke(tx: Sql, apiKeyId: string, at: Date): Promise<void>;
}
