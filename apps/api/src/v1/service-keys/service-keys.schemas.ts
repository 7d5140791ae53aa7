import { z } from 'zod';
import { SCOPES } from '#libs/tenancy/index.js';
import { externalId, page, pageOf, text, time } from '../../http/schemas.js';

// Long enough for any key id; whether it is one of ours is a 404, not a 400.
export const keyId = z.string().max(128);

export const createServiceKeyBody = z
  .strictObject({
    name: text(200),
    scopes: z.array(z.enum(SCOPES)).min(1, 'must name at least one scope').max(SCOPES.length),
    tenant_id: externalId().optional(),
    source_id: externalId().optional(),
    expires_at: time().optional(),
  })
  .meta({ id: 'ServiceKeyInput' });
export type CreateServiceKeyBody = z.infer<typeof createServiceKeyBody>;

export const listServiceKeysQuery = z.strictObject({ ...page, tenant_id: externalId().optional() });
export type ListServiceKeysQuery = z.infer<typeof listServiceKeysQuery>;

const key = {
  key_id: z.string(),
  name: z.string(),
  /** The key's third part, by which a person recognises it in a configuration. */
  public_id: z.string(),
  scopes: z.array(z.enum(SCOPES)),
  tenant_id: z.string().nullable(),
  source_id: z.string().nullable(),
  replaces: z.string().nullable(),
  created_at: z.string(),
  expires_at: z.string().nullable(),
  revoked_at: z.string().nullable(),
  last_used_at: z.string().nullable(),
};
export const serviceKeyWire = z.object(key).meta({ id: 'ServiceKey' });
export type ServiceKeyWire = z.infer<typeof serviceKeyWire>;

export const newServiceKeyWire = z.object({ ...key, key: z.string().meta({ description: 'shown this once' }) }).meta({ id: 'NewServiceKey' });
export type NewServiceKeyWire = z.infer<typeof newServiceKeyWire>;

export const serviceKeyPage = pageOf(serviceKeyWire);
