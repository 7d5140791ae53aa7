import { z } from 'zod';
import { externalId, page, pageOf } from '../../http/schemas.js';
import { modelPricesWire } from '../prices/prices.schemas.js';

export const listModelsQuery = z.strictObject({
  ...page,
  tenant_id: externalId().optional().meta({ description: 'Whose prices to show; without it they are what the provider charges' }),
  provider: externalId().optional(),
});
export type ListModelsQuery = z.infer<typeof listModelsQuery>;

export const modelsPage = pageOf(modelPricesWire);
