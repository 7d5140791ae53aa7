import { z } from 'zod';
import { page, period } from '../../http/schemas.js';

export const listEntriesQuery = z.strictObject({ ...page, ...period });

export const entryWire = z
  .object({
    transaction_id: z.string(),
    seq: z.number().meta({ description: "The transaction's number within its tenant, without gaps" }),
    kind: z.string(),
    occurred_at: z.string(),
    booked_at: z.string(),
    corrects: z.string().nullable().meta({ description: 'The transaction that a reversal takes from' }),
    actor: z.string(),
    reason: z.string().nullable(),
    reference: z.string().nullable(),
    transfers: z.array(z.object({ debit: z.string(), credit: z.string(), amount_usd: z.string() })),
  })
  .meta({ id: 'LedgerEntry' });

export const ledgerCheckWire = z
  .object({
    accounts: z.number().meta({ description: 'Accounts recomputed' }),
    drift: z
      .array(
        z.object({
          tenant_id: z.string(),
          account: z.string().meta({ description: "An account's code, transaction:<uuid>, or tenant for the tenant's own row" }),
          field: z.string(),
          expected: z.string().meta({ description: 'What the transfers say: USD, or a count for seq and transfers' }),
          found: z.string(),
        }),
      )
      .meta({ description: 'At most 1,000 rows; empty means that everything adds up' }),
  })
  .meta({ id: 'LedgerCheck' });
