import { z } from 'zod';
import { DELIVERY_STATUSES } from '#libs/alerting/index.js';
import { externalId, page, pageOf } from '../../http/schemas.js';

// Long enough for any id; whether it is one of ours is a 404, not a 400.
export const deliveryId = z.string().max(128);

export const listAlertDeliveriesQuery = z.strictObject({ ...page, channel_id: externalId().optional(), status: z.enum(DELIVERY_STATUSES).optional() });
export type ListAlertDeliveriesQuery = z.infer<typeof listAlertDeliveriesQuery>;

export const alertDeliveryWire = z
  .object({
    delivery_id: z.string(),
    alert_id: z.string().meta({ description: 'also the webhook-id of its messages' }),
    channel_id: z.string(),
    status: z.enum(DELIVERY_STATUSES),
    attempts: z.int(),
    next_attempt_at: z.string().nullable(),
    last_attempt_at: z.string().nullable(),
    http_status: z.int().nullable(),
    error: z.string().nullable(),
    response_excerpt: z.string().nullable().meta({ description: 'at most 256 characters of the last answer' }),
    created_at: z.string(),
    finished_at: z.string().nullable(),
  })
  .meta({ id: 'AlertDelivery' });
export type AlertDeliveryWire = z.infer<typeof alertDeliveryWire>;

export const alertDeliveryPage = pageOf(alertDeliveryWire);
