import { z } from 'zod';
import { count, text, time, usd } from '../../http/schemas.js';

export const grantCreditBody = z
  .strictObject({
    amount_usd: usd({ min: 1n }),
    kind: z.enum(['paid', 'promo']).meta({ description: 'promo is never refundable in cash and burns before paid of equal priority and expiry' }),
    expires_at: time().nullable().optional().meta({ description: 'The credit may be spent before this time; none by default' }),
    priority: count(100).optional().meta({ description: '0 burns first, 100 last; 50 by default' }),
    reference: text(200).optional(),
  })
  .meta({ id: 'GrantCredit' });

export const creditWire = z
  .object({
    lot_id: z.string(),
    tenant_id: z.string(),
    kind: z.enum(['paid', 'promo']),
    granted_usd: z.string(),
    remaining_usd: z.string(),
    priority: z.number(),
    expires_at: z.string().nullable(),
    created_at: z.string(),
    voided_at: z.string().nullable(),
    reference: z.string().nullable(),
  })
  .meta({ id: 'Credit' });

export const balanceAfter = z.object({ posted_usd: z.string(), receivable_usd: z.string() }).meta({ id: 'BalanceAfter' });

export const grantedCreditWire = creditWire
  .extend({
    transaction_id: z.string(),
    collected_usd: z.string().meta({ description: 'What a paid credit paid at once of the debt of a prepaid tenant' }),
    balance: balanceAfter,
  })
  .meta({ id: 'GrantedCredit' });

export const voidCreditBody = z
  .strictObject({ reason: text(500).optional() })
  .optional()
  .meta({ id: 'VoidCredit' });

export const voidedCreditWire = creditWire
  .extend({
    transaction_id: z.string().nullable(),
    voided_usd: z.string().meta({ description: 'What was left and went back' }),
    balance: balanceAfter,
  })
  .meta({ id: 'VoidedCredit' });
