import { z } from 'zod';
import { ALERT_KINDS, isSecret, SECRET_RULE, SEVERITIES } from '#libs/alerting/index.js';
import { externalId, pageOf } from '../../http/schemas.js';

export const channelId = externalId();

const secret = z
  .string()
  .max(128, SECRET_RULE)
  .refine(isSecret, SECRET_RULE)
  .meta({ description: 'Standard Webhooks: whsec_ and base64 of 24 to 64 bytes', examples: ['whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'] });

/** The whole of a channel's settings: what is left out takes its default, but for the secret, which stays. */
export const putAlertChannelBody = z
  .strictObject({
    kind: z.enum(['webhook']),
    url: z
      .string()
      .min(1, 'must be an http or https URL')
      .max(2_048, 'must have at most 2048 characters')
      .regex(/^[\x21-\x7e]+$/, 'must be printable ASCII without spaces')
      .meta({ examples: ['https://hooks.example.com/tollgate'] }),
    secret: secret.optional(),
    kinds: z.array(z.enum(ALERT_KINDS)).min(1, 'must name at least one kind').max(ALERT_KINDS.length).nullable().default(null),
    tenant_id: externalId().nullable().default(null),
    min_severity: z.enum(SEVERITIES).default('info'),
    enabled: z.boolean().default(true),
  })
  .meta({ id: 'AlertChannelInput' });
export type PutAlertChannelBody = z.infer<typeof putAlertChannelBody>;

export const rotateAlertChannelBody = z.strictObject({ secret: secret.optional() }).optional();
export type RotateAlertChannelBody = z.infer<typeof rotateAlertChannelBody>;

const channel = {
  channel_id: z.string(),
  kind: z.enum(['webhook']),
  url: z.string(),
  kinds: z.array(z.enum(ALERT_KINDS)).nullable(),
  tenant_id: z.string().nullable(),
  min_severity: z.enum(SEVERITIES),
  enabled: z.boolean(),
  disabled_reason: z.string().nullable().meta({ description: '"gone": the endpoint answered 410' }),
  previous_secret_until: z.string().nullable().meta({ description: 'until then messages carry a signature of the previous secret too' }),
  created_at: z.string(),
  updated_at: z.string(),
};
export const alertChannelWire = z.object(channel).meta({ id: 'AlertChannel' });
export type AlertChannelWire = z.infer<typeof alertChannelWire>;

export const newAlertChannelWire = z.object({ ...channel, secret: z.string().meta({ description: 'shown this once' }) }).meta({ id: 'NewAlertChannel' });
export type NewAlertChannelWire = z.infer<typeof newAlertChannelWire>;

export const alertChannelPage = pageOf(alertChannelWire);

export const alertChannelTestWire = z
  .object({
    delivered: z.boolean(),
    http_status: z.int().nullable(),
    error: z.string().nullable(),
    response_excerpt: z.string().nullable(),
  })
  .meta({ id: 'AlertChannelTest' });
export type AlertChannelTestWire = z.infer<typeof alertChannelTestWire>;
