import { z } from 'zod';
import { externalId, pageOf, pageQuery } from '../../http/schemas.js';

export const aliasName = externalId();

export const putModelAliasBody = z
  .strictObject({
    source_id: externalId().nullable().optional().meta({ description: 'The one source that means this by the name; without it every source does' }),
    provider: externalId(),
    model: externalId(),
  })
  .meta({ id: 'ModelAliasInput' });
export type PutModelAliasBody = z.infer<typeof putModelAliasBody>;

export const listModelAliasesQuery = pageQuery;
export type ListModelAliasesQuery = z.infer<typeof listModelAliasesQuery>;

export const modelAliasWire = z
  .object({
    alias: z.string(),
    source_id: z.string().nullable(),
    provider: z.string(),
    model: z.string(),
    learned: z.boolean().meta({ description: 'Seen in events; one that was set stands above it' }),
    updated_at: z.string(),
  })
  .meta({ id: 'ModelAlias' });
export type ModelAliasWire = z.infer<typeof modelAliasWire>;

export const modelAliasPage = pageOf(modelAliasWire);
