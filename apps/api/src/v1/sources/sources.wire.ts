import type { z } from 'zod';
import type { Source } from '#libs/metering/index.js';
import type { sourceWire } from './sources.schemas.js';

export function toWire(source: Source): z.infer<typeof sourceWire> {
  return {
    source_id: source.sourceId,
    gateway: source.gateway,
    trust: { tenant: source.trustTenant, cost: source.trustCost },
    attribution: Object.fromEntries(Object.entries(source.attribution).map(([field, fieldPaths]) => [field, [...fieldPaths]])),
    defaults: { ...source.defaults },
    on_new_tenant: source.onNewTenant,
    authorize_headers: { ...source.authorizeHeaders },
    created_at: source.createdAt.toISOString(),
    updated_at: source.updatedAt.toISOString(),
  };
}
