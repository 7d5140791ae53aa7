import { Body, Controller, Get, Param, Put, Query, Res } from '@nestjs/common';
import { ApiCreatedResponse, ApiOkResponse, ApiTags } from '@nestjs/swagger';
import type { FastifyReply } from 'fastify';
import { isExternalId } from '#libs/kernel/index.js';
import { ListTenants, PutTenant, type Caller } from '#libs/tenancy/index.js';
import { CurrentCaller, RequestId, RequireScope } from '../../http/access.js';
import { decodeCursor, toPage, type Page } from '../../http/schemas.js';
import { tenantNotFound } from '../../http/tenant-access.js';
import {
  listTenantsQuery,
  putTenantBody,
  tenantId,
  tenantPage,
  tenantWire,
  type ListTenantsQuery,
  type PutTenantBody,
  type TenantWire,
} from './tenants.schemas.js';
import { toTenantChange, toTenantWire } from './tenants.wire.js';

@ApiTags('tenants')
@Controller('v1/tenants')
export class TenantsController {
  constructor(
    private readonly putTenant: PutTenant,
    private readonly listTenants: ListTenants,
  ) {}

  @Put(':tenant_id')
  @RequireScope('admin')
  @ApiOkResponse({ standardSchema: tenantWire, description: 'The tenant after the change' })
  @ApiCreatedResponse({ standardSchema: tenantWire, description: 'The new tenant' })
  async put(
    @Param('tenant_id', { schema: tenantId }) id: string,
    @Body({ schema: putTenantBody }) body: PutTenantBody,
    @CurrentCaller() caller: Caller,
    @RequestId() requestId: string,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<TenantWire> {
    const { tenant, created } = await this.putTenant.execute({ tenantId: id, change: toTenantChange(body), context: { actor: caller.actor, requestId } });
    if (created) void reply.code(201);
    return toTenantWire(tenant);
  }

  @Get(':tenant_id')
  @RequireScope('read')
  @ApiOkResponse({ standardSchema: tenantWire })
  async get(@Param('tenant_id', { schema: tenantId }) id: string): Promise<TenantWire> {
    const [tenant] = await this.listTenants.execute({ tenantId: id, limit: 1 });
    if (tenant === undefined) throw tenantNotFound();
    return toTenantWire(tenant);
  }

  @Get()
  @RequireScope('read')
  @ApiOkResponse({ standardSchema: tenantPage })
  async list(@Query({ schema: listTenantsQuery }) query: ListTenantsQuery, @CurrentCaller() caller: Caller): Promise<Page<TenantWire>> {
    const after = decodeCursor(query.cursor, ([id, ...rest]) => id !== undefined && rest.length === 0 && isExternalId(id));
    const rows = await this.listTenants.execute({
      tenantId: caller.tenantId ?? undefined,
      autoCreated: query.auto_created === undefined ? undefined : query.auto_created === 'true',
      after: after?.[0],
      limit: query.limit,
    });
    return toPage(rows, query.limit, (tenant) => [tenant.tenantId], toTenantWire);
  }
}
