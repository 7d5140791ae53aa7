import { z } from 'zod';
import { ALERT_KINDS, DELIVERY_STATUSES, SEVERITIES } from '#libs/alerting/index.js';
import { externalId, page, pageOf, period } from '../../http/schemas.js';

export const listAlertsQuery = z.strictObject({ ...page, ...period, tenant_id: externalId().optional(), kind: z.enum(ALERT_KINDS).optional() });
export type ListAlertsQuery = z.infer<typeof listAlertsQuery>;

export const alertWire = z
  .object({
    alert_id: z.string(),
    kind: z.enum(ALERT_KINDS),
    severity: z.enum(SEVERITIES),
    tenant_id: z.string().nullable(),
    occurred_at: z.string(),
    raised_at: z.string(),
    subject: z.record(z.string(), z.unknown()).meta({ description: 'what happened, as the webhook tells it under data' }),
    deliveries: z.array(
      z.object({
        delivery_id: z.string(),
        channel_id: z.string(),
        status: z.enum(DELIVERY_STATUSES),
        attempts: z.int(),
        next_attempt_at: z.string().nullable(),
        finished_at: z.string().nullable(),
      }),
    ),
  })
  .meta({ id: 'Alert' });
export type AlertWire = z.infer<typeof alertWire>;

export const alertPage = pageOf(alertWire);
