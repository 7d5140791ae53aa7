import { z } from 'zod';
import { externalId, pageOf, pageQuery, text, time, usd } from '../../http/schemas.js';

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
    prepaid_usd: usd({ min: 0n })
      .nullish()
      .meta({ description: 'Gives the key a balance of its own with so much in it, inside what the tenant has: both limit its calls. Only when it is made' }),
  })
  .meta({ id: 'ApiKeyInput' });
export type CreateApiKeyBody = z.infer<typeof createApiKeyBody>;

export const creditKeyBody = z.strictObject({ amount_usd: usd({ min: 1n }), reference: text(200).nullish() }).meta({ id: 'ApiKeyCreditInput' });
export type CreditKeyBody = z.infer<typeof creditKeyBody>;

export const keyCreditWire = z
  .object({ credit_id: z.string(), api_key_id: z.string(), amount_usd: z.string(), reference: z.string().nullable(), created_at: z.string() })
  .meta({ id: 'ApiKeyCredit' });
export type KeyCreditWire = z.infer<typeof keyCreditWire>;

const prepaid = z
  .object({
    granted_usd: z.string().meta({ description: 'Everything it was ever credited' }),
    used_usd: z.string(),
    held_usd: z.string().nullable(),
    available_usd: z.string().nullable(),
  })
  .meta({ id: 'ApiKeyBalance', description: 'held and available are null while the quota state cannot be reached' });

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
    prepaid: prepaid.nullable().meta({ description: 'The balance of its own; null where it has none' }),
  })
  .meta({ id: 'ApiKey' });
export type ApiKeyWire = z.infer<typeof apiKeyWire>;

export const newApiKeyWire = z.object({ ...apiKeyWire.shape, key: z.string().meta({ description: 'Shown once' }) }).meta({ id: 'NewApiKey' });
export type NewApiKeyWire = z.infer<typeof newApiKeyWire>;

export const apiKeyPage = pageOf(apiKeyWire);
