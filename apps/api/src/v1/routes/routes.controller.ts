import { Body, Controller, Get, Param, Put } from '@nestjs/common';
import { ApiOkResponse, ApiTags } from '@nestjs/swagger';
import { EVERYBODY, PutRoutes, type Ladders } from '#libs/quota/index.js';
import type { Caller } from '#libs/tenancy/index.js';
import { CurrentCaller, RequestId, RequireScope } from '../../http/access.js';
import { tenantId } from '../tenants/tenants.schemas.js';
import { routesBody, type RoutesBody } from './routes.schemas.js';

@ApiTags('routes')
@Controller('v1')
export class RoutesController {
  constructor(private readonly putRoutes: PutRoutes) {}

  /** Replaces everybody's ladders. */
  @Put('routes')
  @RequireScope('admin')
  @ApiOkResponse({ standardSchema: routesBody })
  async put(@Body({ schema: routesBody }) body: RoutesBody, @CurrentCaller() caller: Caller, @RequestId() requestId: string): Promise<RoutesBody> {
    return toWire(await this.putRoutes.execute({ tenantId: EVERYBODY, ladders: new Map(Object.entries(body)), context: { actor: caller.actor, requestId } }));
  }

  @Get('routes')
  @RequireScope('read', { boundKeys: 'refuse' })
  @ApiOkResponse({ standardSchema: routesBody })
  async get(): Promise<RoutesBody> {
    return toWire(await this.putRoutes.read(EVERYBODY));
  }

  /** Replaces a tenant's ladders; for a model that it has none for, everybody's counts. */
  @Put('tenants/:tenant_id/routes')
  @RequireScope('admin')
  @ApiOkResponse({ standardSchema: routesBody })
  async putOfTenant(
    @Param('tenant_id', { schema: tenantId }) tenant: string,
    @Body({ schema: routesBody }) body: RoutesBody,
    @CurrentCaller() caller: Caller,
    @RequestId() requestId: string,
  ): Promise<RoutesBody> {
    return toWire(await this.putRoutes.execute({ tenantId: tenant, ladders: new Map(Object.entries(body)), context: { actor: caller.actor, requestId } }));
  }

  @Get('tenants/:tenant_id/routes')
  @RequireScope('read')
  @ApiOkResponse({ standardSchema: routesBody })
  async getOfTenant(@Param('tenant_id', { schema: tenantId }) tenant: string): Promise<RoutesBody> {
    return toWire(await this.putRoutes.read(tenant));
  }
}

function toWire(ladders: Ladders): RoutesBody {
  return Object.fromEntries([...ladders].map(([model, steps]) => [model, [...steps]]));
}
