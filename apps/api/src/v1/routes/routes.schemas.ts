import { z } from 'zod';
import { externalId } from '../../http/schemas.js';

const MAX_MODELS = 500;
const MAX_STEPS = 8;

export const routesBody = z
  .record(externalId(), z.array(externalId()).min(1).max(MAX_STEPS))
  .refine((ladders) => Object.keys(ladders).length <= MAX_MODELS, `must have at most ${MAX_MODELS} models`)
  .meta({
    id: 'Routes',
    description: 'What may run instead of a model, best first; a name may end in *',
    examples: [{ 'gpt-4o': ['gpt-4o-mini', 'free-model'] }],
  });
export type RoutesBody = z.infer<typeof routesBody>;
