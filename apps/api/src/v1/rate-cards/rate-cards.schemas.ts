import { z } from 'zod';
import { MARKUP_RULE } from '#libs/pricing/index.js';
import { externalId, pageOf, pageQuery, text } from '../../http/schemas.js';
import { componentPrices } from '../price-overrides/price-overrides.schemas.js';

const MAX_ENTRIES = 200;

export const rateCardId = externalId();

export const putRateCardBody = z
  .strictObject({
    markup_percent: z
      .string({ error: MARKUP_RULE })
      .max(20)
      .meta({ description: 'Percent over cost as a decimal string', examples: ['15'] }),
    prices: z
      .array(z.strictObject({ provider: externalId().optional(), model: externalId().optional(), prices: componentPrices }))
      .max(MAX_ENTRIES)
      .optional()
      .meta({ description: 'Prices of your own instead of cost plus markup; the most specific entry wins' }),
    reason: text(500).optional(),
  })
  .meta({ id: 'RateCardInput' });
export type PutRateCardBody = z.infer<typeof putRateCardBody>;

export const listRateCardsQuery = pageQuery;
export type ListRateCardsQuery = z.infer<typeof listRateCardsQuery>;

export const rateCardWire = z
  .object({
    rate_card_id: z.string(),
    revision: z.int(),
    markup_percent: z.string(),
    prices: z.array(z.object({ provider: z.string().nullable(), model: z.string().nullable(), prices: z.record(z.string(), z.string()) })),
    created_at: z.string(),
  })
  .meta({ id: 'RateCard' });
export type RateCardWire = z.infer<typeof rateCardWire>;

export const rateCardHistory = z.object({ ...rateCardWire.shape, revisions: z.array(rateCardWire) }).meta({ id: 'RateCardHistory' });
export type RateCardHistory = z.infer<typeof rateCardHistory>;

export const rateCardPage = pageOf(rateCardWire);
