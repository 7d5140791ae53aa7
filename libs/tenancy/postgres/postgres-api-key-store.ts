import { textArray } from '../../platform/postgres/array-literal.js';
import type { Sql } from '../../platform/postgres/database.js';
import { ApiKeyStore } from '../application/api-key-store.js';
import type { ApiKey } from '../domain/api-key.js';

// Named as the program names them: the driver's row is the key.
const COLUMNS = `api_key_id AS "apiKeyId", public_id AS "publicId", secret_hash AS "secretHash", tenant_id AS "tenantId", name, app, assistant_id AS "assistantId", workflow,
  environment, models, allow_critical AS "allowCritical", prepaid, replaces, created_at AS "createdAt", expires_at AS "expiresAt", revoked_at AS "revokedAt"`;

export class PostgresApiKeyStore extends ApiKeyStore {
  override async findByPublicId(sql: Sql, publicId: string): Promise<ApiKey | null> {
    return (
      (await sql.query<ApiKey>({ name: 'tenancy.find-api-key', text: `SELECT ${COLUMNS} FROM tenancy.api_key WHERE public_id = $1` }, [publicId]))[0] ?? null
    );
  }

  override async find(sql: Sql, apiKeyId: string): Promise<ApiKey | null> {
    return (await sql.query<ApiKey>(`SELECT ${COLUMNS} FROM tenancy.api_key WHERE api_key_id = $1`, [apiKeyId]))[0] ?? null;
  }

  override async lock(tx: Sql, apiKeyId: string): Promise<ApiKey | null> {
    return (await tx.query<ApiKey>(`SELECT ${COLUMNS} FROM tenancy.api_key WHERE api_key_id = $1 FOR UPDATE`, [apiKeyId]))[0] ?? null;
  }

  override async successors(tx: Sql, apiKeyId: string): Promise<ApiKey[]> {
    return await tx.query<ApiKey>(`SELECT ${COLUMNS} FROM tenancy.api_key WHERE replaces = $1`, [apiKeyId]);
  }

  override async list(sql: Sql, filter: { tenantId: string; before: string | null; limit: number }): Promise<ApiKey[]> {
    return await sql.query<ApiKey>(
      `SELECT ${COLUMNS} FROM tenancy.api_key WHERE tenant_id = $1 AND ($2::uuid IS NULL OR api_key_id < $2) ORDER BY api_key_id DESC LIMIT $3`,
      [filter.tenantId, filter.before, filter.limit],
    );
  }

  override async insert(tx: Sql, key: ApiKey): Promise<boolean> {
    if ((await tx.query('SELECT FROM tenancy.tenant WHERE tenant_id = $1 FOR SHARE', [key.tenantId])).length === 0) return false;
    await tx.execute(
      `INSERT INTO tenancy.api_key (api_key_id, public_id, secret_hash, tenant_id, name, app, assistant_id, workflow, environment, models, allow_critical, prepaid,
         replaces, created_at, expires_at, revoked_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10::text[], $11, $12, $13, $14, $15, $16)`,
      [
        key.apiKeyId,
        key.publicId,
        key.secretHash,
        key.tenantId,
        key.name,
        key.app,
        key.assistantId,
        key.workflow,
        key.environment,
        key.models === null ? null : textArray(key.models),
        key.allowCritical,
        key.prepaid,
        key.replaces,
        key.createdAt,
        key.expiresAt,
        key.revokedAt,
      ],
    );
    return true;
  }

  override async revoke(tx: Sql, apiKeyId: string, at: Date): Promise<void> {
    await tx.execute('UPDATE tenancy.api_key SET revoked_at = $2 WHERE api_key_id = $1 AND revoked_at IS NULL', [apiKeyId, at]);
  }
}
