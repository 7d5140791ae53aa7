import { z } from 'zod';
import { externalId, format, page } from '../../http/schemas.js';

const MONTH_RULE = 'must be a UTC month such as "2026-11"';

export const monthlySpendQuery = z.strictObject({
  ...page,
  ...format,
  month: z
    .string()
    .regex(/^20[0-9]{2}-(0[1-9]|1[0-2])$/, MONTH_RULE)
    .optional()
    .meta({ description: 'UTC service month; default the current one' }),
  tenant_id: externalId().optional(),
  environment: externalId().optional(),
});

export const monthlySpendWire = z
  .object({
    month: z.string(),
    tenant_id: z.string(),
    provider: z.string(),
    model: z.string(),
    environment: z.string(),
    requests: z.int(),
    input_tokens: z.int(),
    output_tokens: z.int(),
    cache_creation_tokens: z.int().meta({ description: '5 minutes and 1 hour together' }),
    cache_read_tokens: z.int(),
    cost_usd: z.string(),
    charge_usd: z.string(),
    reconciled_usd: z.string().nullable(),
    delta_usd: z.string().nullable(),
    status: z.enum(['open', 'closing', 'closed']),
    revision: z.int(),
  })
  .meta({ id: 'MonthlySpend' });
