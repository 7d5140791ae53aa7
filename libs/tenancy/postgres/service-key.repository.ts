import type { Sql } from '../../platform/postgres/database.js';
import { plainArray, textArray, timeArray } from '../../platform/postgres/array-literal.js';
import { ServiceKeyRepository } from '../application/ports.js';
import type { Scope, ServiceKey } from '../domain/service-key.js';

const COLUMNS = 'key_id, public_id, secret_hash, name, scopes, tenant_id, source_id, replaces, created_at, expires_at, revoked_at, last_used_at';

export class PostgresServiceKeyRepository extends ServiceKeyRepository {
  override async findByPublicId(sql: Sql, publicId: string): Promise<ServiceKey | null> {
    const rows = await sql.query<ServiceKeyRow>({ name: 'tenancy.find-key', text: `SELECT ${COLUMNS} FROM tenancy.service_key WHERE public_id = $1` }, [
      publicId,
    ]);
    return rows[0] === undefined ? null : toServiceKey(rows[0]);
  }

  override async lock(tx: Sql, keyId: string): Promise<ServiceKey | null> {
    const rows = await tx.query<ServiceKeyRow>(`SELECT ${COLUMNS} FROM tenancy.service_key WHERE key_id = $1 FOR UPDATE`, [keyId]);
    return rows[0] === undefined ? null : toServiceKey(rows[0]);
  }

  override async successors(tx: Sql, keyId: string): Promise<ServiceKey[]> {
    return (await tx.query<ServiceKeyRow>(`SELECT ${COLUMNS} FROM tenancy.service_key WHERE replaces = $1`, [keyId])).map(toServiceKey);
  }

  override async list(sql: Sql, filter: { tenantId?: string | undefined; before?: string | undefined; limit: number }): Promise<ServiceKey[]> {
    const rows = await sql.query<ServiceKeyRow>(
      `SELECT ${COLUMNS} FROM tenancy.service_key
        WHERE ($1::text IS NULL OR tenant_id = $1) AND ($2::uuid IS NULL OR key_id < $2)
        ORDER BY key_id DESC LIMIT $3`,
      [filter.tenantId ?? null, filter.before ?? null, filter.limit],
    );
    return rows.map(toServiceKey);
  }

  override async insert(tx: Sql, key: ServiceKey): Promise<boolean> {
    if (key.tenantId !== null && (await tx.query('SELECT FROM tenancy.tenant WHERE tenant_id = $1 FOR SHARE', [key.tenantId])).length === 0) return false;
    await tx.execute(`INSERT INTO tenancy.service_key (${COLUMNS}) VALUES ($1, $2, $3, $4, $5::text[], $6, $7, $8, $9, $10, $11, $12)`, [
      key.keyId,
      key.publicId,
      key.secretHash,
      key.name,
      textArray(key.scopes),
      key.tenantId,
      key.sourceId,
      key.replaces,
      key.createdAt,
      key.expiresAt,
      key.revokedAt,
      key.lastUsedAt,
    ]);
    return true;
  }

  override async revoke(tx: Sql, keyId: string, at: Date): Promise<void> {
    await tx.execute('UPDATE tenancy.service_key SET revoked_at = $2 WHERE key_id = $1 AND revoked_at IS NULL', [keyId, at]);
  }

  override async markUsed(sql: Sql, uses: ReadonlyMap<string, Date>): Promise<void> {
    // In key order, so that two processes that note the same keys wait for each other instead of deadlocking.
    const sorted = [...uses].sort(([left], [right]) => (left < right ? -1 : 1));
    await sql.execute(
      `WITH used AS (SELECT * FROM unnest($1::uuid[], $2::timestamptz[]) AS u (key_id, at)),
            held AS (SELECT k.key_id FROM tenancy.service_key k JOIN used USING (key_id) ORDER BY k.key_id FOR UPDATE OF k)
       UPDATE tenancy.service_key k SET last_used_at = used.at
         FROM used JOIN held USING (key_id)
        WHERE k.key_id = used.key_id AND (k.last_used_at IS NULL OR k.last_used_at < used.at)`,
      [plainArray(sorted.map(([keyId]) => keyId)), timeArray(sorted.map(([, at]) => at))],
    );
  }
}

interface ServiceKeyRow {
  key_id: string;
  public_id: string;
  secret_hash: Buffer;
  name: string;
  scopes: Scope[];
  tenant_id: string | null;
  source_id: string | null;
  replaces: string | null;
  created_at: Date;
  expires_at: Date | null;
  revoked_at: Date | null;
  last_used_at: Date | null;
}

function toServiceKey(row: ServiceKeyRow): ServiceKey {
  return {
    keyId: row.key_id,
    publicId: row.public_id,
    secretHash: row.secret_hash,
    name: row.name,
    scopes: row.scopes,
    tenantId: row.tenant_id,
    sourceId: row.source_id,
    replaces: row.replaces,
    createdAt: row.created_at,
    expiresAt: row.expires_at,
    revokedAt: row.revoked_at,
    lastUsedAt: row.last_used_at,
  };
}
