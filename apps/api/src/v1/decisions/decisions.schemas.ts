import { z } from 'zod';
import { externalId, page, time } from '../../http/schemas.js';

const decision = z.enum(['allow', 'downgrade', 'block']);

export const listDecisionsQuery = z.strictObject({
  ...page,
  tenant_id: externalId().optional(),
  call_id: externalId().optional(),
  decision: decision.optional(),
  from: time().optional(),
});

export const loggedDecisionWire = z
  .object({
    decision_id: z.string(),
    at: z.string(),
    tenant_id: z.string(),
    call_id: z.string().nullable(),
    decision,
    would: decision.nullable(),
    reason: z.string(),
    hold_id: z.string().nullable(),
    numbers: z.record(z.string(), z.unknown()).meta({ description: 'The figures that were compared' }),
  })
  .meta({ id: 'LoggedDecision' });
