import { z } from 'zod';
import { externalId, pageOf, pageQuery, text, time } from '../../http/schemas.js';

const MAX_MODELS = 200;

export const apiKeyId = externalId();

export const createApiKeyBody = z
  .strictObject({
    name: text(200),
    app: externalId().nullish(),
    assistant_id: externalId().nullish().meta({ description: 'Whose calls these are, whatever the caller says' }),
    workflow: externalId().nullish(),
    environment: externalId().nullish().meta({ description: 'Beats what the caller says' }),
    models: z.array(externalId()).min(1).max(MAX_MODELS).nullish().meta({ description: 'The models it may call; a name may end in *. Absent: every model' }),
    allow_critical: z.boolean().default(false).meta({ description: 'Whether `priority: critical` counts' }),
    expires_at: time().nullish(),
  })
  .meta({ id: 'ApiKeyInput' });
export type CreateApiKeyBody = z.infer<typeof createApiKeyBody>;

export const listApiKeysQuery = pageQuery;
export type ListApiKeysQuery = z.infer<typeof listApiKeysQuery>;

export const apiKeyWire = z
  .object({
    api_key_id: z.string(),
    tenant_id: z.string(),
    name: z.string(),
    app: z.string().nullable(),
    assistant_id: z.string().nullable(),
    workflow: z.string().nullable(),
    environment: z.string().nullable(),
    models: z.array(z.string()).nullable(),
    allow_critical: z.boolean(),
    replaces: z.string().nullable(),
    created_at: z.string(),
    expires_at: z.string().nullable(),
    revoked_at: z.string().nullable(),
  })
  .meta({ id: 'ApiKey' });
export type ApiKeyWire = z.infer<typeof apiKeyWire>;

export const newApiKeyWire = z.object({ ...apiKeyWire.shape, key: z.string().meta({ description: 'Shown once' }) }).meta({ id: 'NewApiKey' });
export type NewApiKeyWire = z.infer<typeof newApiKeyWire>;

export const apiKeyPage = pageOf(apiKeyWire);
