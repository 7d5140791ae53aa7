import { toWireId } from '#libs/kernel/index.js';
import type { ServiceKey } from '#libs/tenancy/index.js';
import type { ServiceKeyWire } from './service-keys.schemas.js';

export function toServiceKeyWire(key: ServiceKey): ServiceKeyWire {
  return {
    key_id: toWireId('key', key.keyId),
    name: key.name,
    public_id: key.publicId,
    scopes: [...key.scopes],
    tenant_id: key.tenantId,
    source_id: key.sourceId,
    replaces: key.replaces === null ? null : toWireId('key', key.replaces),
    created_at: key.createdAt.toISOString(),
    expires_at: key.expiresAt?.toISOString() ?? null,
    revoked_at: key.revokedAt?.toISOString() ?? null,
    last_used_at: key.lastUsedAt?.toISOString() ?? null,
  };
}
