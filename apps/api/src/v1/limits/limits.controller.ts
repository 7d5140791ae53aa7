import { Controller, Get, Param, Query } from '@nestjs/common';
import { ApiOkResponse, ApiTags } from '@nestjs/swagger';
import { z } from 'zod';
import { ReadLimits } from '#libs/quota/index.js';
import { RequireScope } from '../../http/access.js';
import { externalId } from '../../http/schemas.js';
import { limit } from '../authorize/authorize.schemas.js';
import { limitWire, walletWire } from '../authorize/authorize.wire.js';
import { tenantId } from '../tenants/tenants.schemas.js';

const id = externalId().optional();
const limitsQuery = z.strictObject({
  user_id: id,
  feature: id,
  environment: id,
  assistant_id: id,
  thread_id: id,
  request_id: id,
  api_key_id: id,
  model: id,
  provider: id,
  source: id,
});
const limitsAnswer = z.object({ data: z.array(limit) }).meta({ id: 'Limits' });

@ApiTags('budgets')
@Controller('v1/tenants/:tenant_id/limits')
export class LimitsController {
  constructor(private readonly readLimits: ReadLimits) {}

  /** The limits that a call which says so counts for at this moment, and what is left of them. */
  @Get()
  @RequireScope('read')
  @ApiOkResponse({ standardSchema: limitsAnswer })
  async get(
    @Param('tenant_id', { schema: tenantId }) tenant: string,
    @Query({ schema: limitsQuery }) query: z.infer<typeof limitsQuery>,
  ): Promise<z.infer<typeof limitsAnswer>> {
    const { wallet, limits } = await this.readLimits.execute(tenant, {
      tenant_id: tenant,
      user_id: query.user_id ?? null,
      feature: query.feature ?? null,
      environment: query.environment ?? 'prod',
      assistant_id: query.assistant_id ?? null,
      thread_id: query.thread_id ?? null,
      request_id: query.request_id ?? null,
      api_key_id: query.api_key_id ?? null,
      model: query.model ?? null,
      provider: query.provider ?? null,
      source: query.source ?? null,
      tags: null,
    });
    return { data: [walletWire(wallet, tenant), ...limits.map(limitWire)] };
  }
}
