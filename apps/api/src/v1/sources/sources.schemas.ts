import { z } from 'zod';
import { ATTRIBUTION_FIELDS, AUTHORIZE_HEADER_FIELDS, GATEWAYS, ON_NEW_TENANT } from '#libs/metering/index.js';
import { externalId, page, text } from '../../http/schemas.js';

const paths = z.array(text(200)).max(20).meta({ description: 'Dotted paths into the gateway payload; the first that answers wins' });

export const putSourceBody = z
  .strictObject({
    gateway: z.enum(GATEWAYS).optional().meta({ description: 'Required for a new source' }),
    trust: z
      .strictObject({
        tenant: z.boolean().optional().meta({ description: 'Tenants it names may be created' }),
        cost: z.boolean().optional().meta({ description: 'The cost it states is booked instead of our own rating' }),
      })
      .optional(),
    attribution: z.partialRecord(z.enum(ATTRIBUTION_FIELDS), paths).optional(),
    defaults: z.strictObject({ environment: externalId().optional() }).optional(),
    on_new_tenant: z.enum(ON_NEW_TENANT).optional(),
    authorize_headers: z.partialRecord(z.enum(AUTHORIZE_HEADER_FIELDS), z.string().max(64, 'must have at most 64 characters')).optional().meta({
      description:
        'For gateways that ask by header: {"tenant_id": "x-team"}. A field left out keeps its x-tollgate-... header; one named here is read from nowhere else',
    }),
  })
  .meta({ id: 'PutSource' });

export const sourceWire = z
  .object({
    source_id: z.string(),
    gateway: z.enum(GATEWAYS),
    trust: z.object({ tenant: z.boolean(), cost: z.boolean() }),
    attribution: z.record(z.string(), z.array(z.string())),
    defaults: z.object({ environment: z.string().optional() }),
    on_new_tenant: z.enum(ON_NEW_TENANT),
    authorize_headers: z.record(z.string(), z.string()),
    created_at: z.string(),
    updated_at: z.string(),
  })
  .meta({ id: 'Source' });

export const listSourcesQuery = z.strictObject(page);
