import { z } from 'zod';
import { text, usd } from '../../http/schemas.js';
import { balanceAfter } from '../credits/credits.schemas.js';

export const adjustBalanceBody = z
  .strictObject({
    amount_usd: usd({ min: null })
      .refine((nano) => nano !== 0n, 'must not be zero')
      .meta({ description: 'Signed: negative takes from the tenant' }),
    reason: text(500),
  })
  .meta({ id: 'AdjustBalance' });

export const adjustmentWire = z
  .object({
    transaction_id: z.string(),
    tenant_id: z.string(),
    amount_usd: z.string(),
    lot_id: z.string().nullable().meta({ description: 'The promo credit that received what was left after paying a debt' }),
    balance: balanceAfter,
  })
  .meta({ id: 'Adjustment' });
