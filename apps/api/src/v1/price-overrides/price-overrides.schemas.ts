import { z } from 'zod';
import { externalId, pageOf, pageQuery, text, time } from '../../http/schemas.js';

const MAX_COMPONENTS = 50;

export const overrideId = externalId();

/** {component: decimal USD per unit}; the pricing context knows which components and prices there are. */
export const componentPrices = z
  .record(z.string().max(200), z.string({ error: 'must be a decimal string in USD per unit, never a JSON number' }).max(40))
  .refine((prices) => Object.keys(prices).length <= MAX_COMPONENTS, `must have at most ${MAX_COMPONENTS} entries`)
  .meta({
    description: 'USD per unit by component ("input_tokens", "meter:web_search"), as decimal strings with at most 15 decimals',
    examples: [{ input_tokens: '0.0000025' }],
  });

export const putPriceOverrideBody = z
  .strictObject({
    provider: externalId(),
    model: externalId().meta({ description: 'The price book\'s name, or one very name of it; provider and model "*" price meters of every model' }),
    prices: componentPrices,
    effective_from: time().optional().meta({ description: 'Default: now where it changes a price, the beginning of time where there was none' }),
    effective_to: time().nullable().optional(),
    reason: text(500).optional(),
    accept_jump: z.boolean().optional().meta({ description: 'Means a price more than twenty times away from the one that applies now' }),
  })
  .meta({ id: 'PriceOverrideInput' });
export type PutPriceOverrideBody = z.infer<typeof putPriceOverrideBody>;

export const listPriceOverridesQuery = pageQuery;
export type ListPriceOverridesQuery = z.infer<typeof listPriceOverridesQuery>;

export const priceOverrideWire = z
  .object({
    override_id: z.string(),
    revision: z.int(),
    provider: z.string(),
    model: z.string(),
    prices: z.record(z.string(), z.string()),
    effective_from: z.string(),
    effective_to: z.string().nullable(),
    created_at: z.string(),
  })
  .meta({ id: 'PriceOverride' });
export type PriceOverrideWire = z.infer<typeof priceOverrideWire>;

export const priceOverrideHistory = z.object({ ...priceOverrideWire.shape, revisions: z.array(priceOverrideWire) }).meta({ id: 'PriceOverrideHistory' });
export type PriceOverrideHistory = z.infer<typeof priceOverrideHistory>;

export const priceOverridePage = pageOf(priceOverrideWire);
