import { z } from 'zod';

export const balanceWire = z
  .object({
    posted_usd: z.string().meta({ description: 'Credits less receivable, as booked' }),
    held_usd: z.string().meta({ description: 'Held for calls in flight, and for calls that ran out and are not charged yet' }),
    available_usd: z.string().meta({ description: 'Credits that may be spent now, less receivable and holds, plus the credit limit' }),
    unresolved_usd: z.string().meta({
      description:
        'What was promised to calls of the last 35 days of which nobody has said how they ended; charged or given back by policy, a late event corrects it',
    }),
    credit_limit_usd: z.string(),
    receivable_usd: z.string().meta({ description: 'Owed beyond the credits; negative after the reversal of a debt that was collected' }),
    lots: z
      .array(
        z.object({
          lot_id: z.string(),
          kind: z.enum(['paid', 'promo']),
          granted_usd: z.string(),
          remaining_usd: z.string(),
          expires_at: z.string().nullable(),
          priority: z.number(),
        }),
      )
      .meta({ description: 'Credits that may be spent, in burn order' }),
    as_of: z.string(),
  })
  .meta({ id: 'Balance' });
