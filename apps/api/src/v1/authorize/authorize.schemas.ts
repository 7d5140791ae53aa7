import { z } from 'zod';
import { REASON_CODES } from '#libs/quota/index.js';
import { count, externalId, usd } from '../../http/schemas.js';

/** As in spend events: more tokens than this is a mistake. */
const MAX_TOKENS = 1_000_000_000;
const MAX_TAGS = 64;
const MAX_TAG_LENGTH = 256;

export const authorizeBody = z.strictObject({
  call_id: externalId().nullish().meta({ description: 'Identifies one provider call and makes this request idempotent' }),
  tenant_id: externalId().nullish(),
  user_id: externalId().nullish(),
  feature: externalId().nullish(),
  environment: externalId().nullish(),
  assistant_id: externalId().nullish(),
  thread_id: externalId().nullish(),
  request_id: externalId().nullish(),
  api_key: z
    .string()
    .regex(/^[\x21-\x7e]{1,256}$/, 'must be 1 to 256 characters of printable ASCII without spaces')
    .nullish()
    .meta({ description: "The text of one of the tenant's keys: names the tenant and binds the call to what the key may do" }),
  api_key_id: externalId().nullish(),
  provider: externalId().nullish(),
  model: externalId().nullish(),
  input_tokens: count(MAX_TOKENS).nullish(),
  max_output_tokens: count(MAX_TOKENS).nullish(),
  estimated_cost_usd: usd().nullish().meta({ description: 'Overrides the estimate' }),
  priority: z.enum(['normal', 'critical']).nullish().meta({ description: 'Counts only where the key may be critical' }),
  tags: z
    .record(externalId(), z.string().max(MAX_TAG_LENGTH, `must have at most ${MAX_TAG_LENGTH} characters`))
    .refine((tags) => Object.keys(tags).length <= MAX_TAGS, `must have at most ${MAX_TAGS} entries`)
    .nullish(),
});

export const limit = z.object({
  kind: z.enum(['wallet', 'budget', 'rate', 'key']),
  id: z.string(),
  metric: z.enum(['usd', 'tokens', 'requests', 'concurrent']),
  limit: z.string().nullable().meta({ description: 'Null: nothing limits it' }),
  used: z.string(),
  held: z.string(),
  remaining: z.string().nullable(),
  resets_at: z.string().nullable(),
  enforced: z.boolean(),
  binding: z.boolean(),
});

const decision = z.enum(['allow', 'downgrade', 'block']);

export const authorizeAnswer = z
  .object({
    decision,
    model: z.string().nullable().meta({ description: 'The model to call' }),
    route: z.object({ provider: z.string().nullable(), model: z.string() }).nullable(),
    max_output_tokens: z.int().nullable().meta({ description: 'What the hold covers' }),
    reason: z.object({
      code: z.enum(REASON_CODES),
      message: z.string(),
      scope: z.enum(['tenant', 'budget', 'rate', 'key', 'model']),
      budget_id: z.string().nullable(),
      retry_after_ms: z.int().nullable(),
    }),
    hold: z.object({ hold_id: z.string(), amount_usd: z.string(), expires_at: z.string() }).nullable(),
    available_usd: z.string().nullable().meta({ description: 'What may still be promised after this; null where nothing limits it or nobody knows' }),
    estimate: z.object({ cost_usd: z.string(), basis: z.enum(['given', 'learned', 'default']), price_version: z.string().nullable() }).nullable(),
    limits: z.array(limit).optional().meta({ description: 'Left out with `Prefer: return=minimal`' }),
    shadow: z.boolean(),
    would: decision.nullable().meta({ description: 'What an enforcing tenant would have been told, where that differs' }),
    degraded: z.boolean().meta({ description: "The quota state could not be reached: decided by the tenant's on_store_failure" }),
    replayed: z.boolean(),
  })
  .meta({ id: 'Decision' });
