import { z } from 'zod';
import { USAGE_POOLS } from '#libs/pricing/index.js';
import { count, externalId, page, pageOf, time } from '../../http/schemas.js';

const MAX_QUANTITY = 1_000_000_000;
const MAX_METERS = 50;
const quantity = count(MAX_QUANTITY);

const usage = z
  .strictObject({
    ...(Object.fromEntries(USAGE_POOLS.map((pool) => [pool, quantity.optional()])) as Record<(typeof USAGE_POOLS)[number], z.ZodOptional<typeof quantity>>),
    meters: z
      .record(externalId(), quantity)
      .refine((meters) => Object.keys(meters).length <= MAX_METERS, `must have at most ${MAX_METERS} entries`)
      .optional(),
  })
  .refine((pools) => (pools.reasoning_tokens ?? 0) <= (pools.output_tokens ?? 0), {
    error: 'must be at most output_tokens, which include it',
    path: ['reasoning_tokens'],
  });

export const quoteBody = z
  .strictObject({
    provider: externalId().optional(),
    model: externalId().meta({ description: "The provider's name, a gateway's name with its prefix, or an alias" }),
    usage,
    at: time().optional().meta({ description: 'When it is consumed; default now' }),
    tenant_id: externalId()
      .optional()
      .meta({ description: "Whose rate card makes the charge; without one it is the cost. A tenant's own key quotes for that tenant" }),
  })
  .meta({ id: 'PriceQuoteRequest' });
export type QuoteBody = z.infer<typeof quoteBody>;

export const quoteWire = z
  .object({
    provider: z.string(),
    model: z.string(),
    cost_usd: z.string(),
    charge_usd: z.string(),
    lines: z.array(z.object({ component: z.string(), quantity: z.int(), unit_price: z.string(), cost_usd: z.string(), charge_usd: z.string() })),
    price_version: z.string(),
  })
  .meta({ id: 'PriceQuote' });
export type QuoteWire = z.infer<typeof quoteWire>;

export const listPricesQuery = z.strictObject({
  ...page,
  provider: externalId().optional(),
  model: externalId().optional().meta({ description: "The price book's name of the model" }),
  at: time().optional().meta({ description: 'Prices as they are at this time; default now' }),
});
export type ListPricesQuery = z.infer<typeof listPricesQuery>;

const prices = z.record(z.string(), z.string()).meta({ description: 'USD per unit by component, as decimal strings' });

export const modelPricesWire = z
  .object({
    provider: z.string(),
    model: z.string(),
    prices,
    tiers: z.array(z.object({ above_input_tokens: z.int(), prices })).meta({ description: 'Above so many input tokens the whole call costs these prices' }),
    aliases: z.array(z.string()).meta({ description: "Gateways' names for the model" }),
    price_version: z.string(),
  })
  .meta({ id: 'ModelPrices' });
export type ModelPricesWire = z.infer<typeof modelPricesWire>;

export const pricesPage = pageOf(modelPricesWire);
