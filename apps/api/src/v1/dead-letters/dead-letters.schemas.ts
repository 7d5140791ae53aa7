import { z } from 'zod';
import { externalId, page } from '../../http/schemas.js';

export const listDeadLettersQuery = z.strictObject({
  ...page,
  tenant_id: externalId().optional(),
  source: externalId().optional(),
  code: externalId().optional(),
  replayed: z
    .enum(['true', 'false'])
    .default('false')
    .transform((value) => value === 'true'),
});

export const deadLetterWire = z
  .object({
    id: z.string(),
    received_at: z.string(),
    source: z.string(),
    tenant_id: z.string().nullable(),
    event_id: z.string().nullable(),
    code: z.string(),
    path: z.string().nullable(),
    detail: z.string(),
    item: z.unknown().meta({ description: 'The item without prompts, answers and parameters' }),
    kept_event: z.string().nullable().meta({ description: 'For a conflict: the event that stands' }),
    attempts: z.int(),
    replayed_at: z.string().nullable(),
  })
  .meta({ id: 'DeadLetter' });

export const replayedWire = z
  .object({ id: z.string(), outcome: z.string(), event: z.string().nullable(), code: z.string().nullable(), detail: z.string().nullable(), attempts: z.int() })
  .meta({ id: 'ReplayedDeadLetter' });
