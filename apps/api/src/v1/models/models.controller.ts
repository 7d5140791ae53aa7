import { Controller, Get, Query } from '@nestjs/common';
import { ApiOkResponse, ApiTags } from '@nestjs/swagger';
import { ListPrices } from '#libs/pricing/index.js';
import { TenantDirectory, type Caller } from '#libs/tenancy/index.js';
import { CurrentCaller, RequireScope } from '../../http/access.js';
import { decodeCursor, toPage, type Page } from '../../http/schemas.js';
import { tenantFilter, tenantNotFound } from '../../http/tenant-access.js';
import type { ModelPricesWire } from '../prices/prices.schemas.js';
import { toModelPricesWire } from '../prices/prices.wire.js';
import { listModelsQuery, modelsPage, type ListModelsQuery } from './models.schemas.js';

@ApiTags('prices')
@Controller('v1/models')
export class ModelsController {
  constructor(
    private readonly listPrices: ListPrices,
    private readonly directory: TenantDirectory,
  ) {}

  /** Models that have a price now, at the prices the tenant pays. */
  @Get()
  @RequireScope('read')
  @ApiOkResponse({ standardSchema: modelsPage })
  async list(@Query({ schema: listModelsQuery }) query: ListModelsQuery, @CurrentCaller() caller: Caller): Promise<Page<ModelPricesWire>> {
    const tenantId = tenantFilter(caller, query.tenant_id);
    const tenant = tenantId === undefined ? null : await this.directory.find(tenantId);
    if (tenantId !== undefined && tenant === null) throw tenantNotFound();
    const [provider, model] = decodeCursor(query.cursor, (position) => position.length === 2) ?? [];
    const rows = this.listPrices.execute({
      provider: query.provider ?? null,
      model: null,
      at: null,
      rateCardId: tenant?.rateCardId ?? null,
      after: provider === undefined || model === undefined ? null : [provider, model],
      limit: query.limit + 1,
    });
    return toPage(rows, query.limit, (row) => [row.provider, row.model], toModelPricesWire);
  }
}
