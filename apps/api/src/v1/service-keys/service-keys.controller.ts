import { Body, Controller, Delete, Get, HttpCode, Param, Post, Query } from '@nestjs/common';
import { ApiCreatedResponse, ApiOkResponse, ApiTags } from '@nestjs/swagger';
import { DomainError, fromWireId, toWireId } from '#libs/kernel/index.js';
import { CreateServiceKey, ListServiceKeys, RevokeServiceKey, RotateServiceKey, type Caller } from '#libs/tenancy/index.js';
import { CurrentCaller, RequestId, RequireScope } from '../../http/access.js';
import { decodeCursor, toPage, type Page } from '../../http/schemas.js';
import { tenantFilter } from '../../http/tenant-access.js';
import {
  createServiceKeyBody,
  keyId,
  listServiceKeysQuery,
  newServiceKeyWire,
  serviceKeyPage,
  serviceKeyWire,
  type CreateServiceKeyBody,
  type ListServiceKeysQuery,
  type NewServiceKeyWire,
  type ServiceKeyWire,
} from './service-keys.schemas.js';
import { toServiceKeyWire } from './service-keys.wire.js';

/** An admin key bound to a tenant manages that tenant's keys alone: it can neither see nor make any other. */
@ApiTags('service-keys')
@Controller('v1/service-keys')
export class ServiceKeysController {
  constructor(
    private readonly createKey: CreateServiceKey,
    private readonly listKeys: ListServiceKeys,
    private readonly revokeKey: RevokeServiceKey,
    private readonly rotateKey: RotateServiceKey,
  ) {}

  @Post()
  @RequireScope('admin', { boundKeys: 'checked' })
  @ApiCreatedResponse({ standardSchema: newServiceKeyWire })
  async create(
    @Body({ schema: createServiceKeyBody }) body: CreateServiceKeyBody,
    @CurrentCaller() caller: Caller,
    @RequestId() requestId: string,
  ): Promise<NewServiceKeyWire> {
    assertNotSourceBound(caller);
    const tenantId = tenantFilter(caller, body.tenant_id) ?? null;
    const { key, rawKey } = await this.createKey.execute({
      key: { name: body.name, scopes: body.scopes, tenantId, sourceId: body.source_id ?? null, expiresAt: body.expires_at ?? null },
      context: { actor: caller.actor, requestId },
    });
    return { ...toServiceKeyWire(key), key: rawKey };
  }

  @Get()
  @RequireScope('admin', { boundKeys: 'checked' })
  @ApiOkResponse({ standardSchema: serviceKeyPage })
  async list(@Query({ schema: listServiceKeysQuery }) query: ListServiceKeysQuery, @CurrentCaller() caller: Caller): Promise<Page<ServiceKeyWire>> {
    assertNotSourceBound(caller);
    const before = decodeCursor(query.cursor, ([id, ...rest]) => id !== undefined && rest.length === 0 && fromWireId('key', id) !== null);
    const rows = await this.listKeys.execute({
      tenantId: tenantFilter(caller, query.tenant_id),
      before: before?.[0] === undefined ? undefined : (fromWireId('key', before[0]) ?? undefined),
      limit: query.limit,
    });
    return toPage(rows, query.limit, (key) => [toWireId('key', key.keyId)], toServiceKeyWire);
  }

  @Delete(':key_id')
  @RequireScope('admin', { boundKeys: 'checked' })
  @ApiOkResponse({ standardSchema: serviceKeyWire, description: 'The key, revoked' })
  async revoke(@Param('key_id', { schema: keyId }) id: string, @CurrentCaller() caller: Caller, @RequestId() requestId: string): Promise<ServiceKeyWire> {
    assertNotSourceBound(caller);
    const key = await this.revokeKey.execute({ keyId: uuidOf(id), onlyTenantId: caller.tenantId, context: { actor: caller.actor, requestId } });
    if (key === null) throw keyNotFound();
    return toServiceKeyWire(key);
  }

  @Post(':key_id/rotate')
  @HttpCode(201)
  @RequireScope('admin', { boundKeys: 'checked' })
  @ApiCreatedResponse({ standardSchema: newServiceKeyWire, description: 'A second key with the same rights; the old one lives until it is revoked' })
  async rotate(@Param('key_id', { schema: keyId }) id: string, @CurrentCaller() caller: Caller, @RequestId() requestId: string): Promise<NewServiceKeyWire> {
    assertNotSourceBound(caller);
    const outcome = await this.rotateKey.execute({ keyId: uuidOf(id), onlyTenantId: caller.tenantId, context: { actor: caller.actor, requestId } });
    if (outcome.ok) return { ...toServiceKeyWire(outcome.key), key: outcome.rawKey };
    switch (outcome.reason) {
      case 'not_found':
        throw keyNotFound();
      case 'not_live':
        throw new DomainError({ code: 'service_key.not_live', kind: 'conflict', publicMessage: 'the key is revoked or expired; make a new one' });
      case 'two_live':
        throw new DomainError({
          code: 'service_key.two_live',
          kind: 'conflict',
          publicMessage: 'two keys of this line are live; revoke one before rotating again',
        });
    }
  }
}

function uuidOf(wireId: string): string {
  const uuid = fromWireId('key', wireId);
  if (uuid === null) throw keyNotFound();
  return uuid;
}

function keyNotFound(): DomainError {
  return new DomainError({ code: 'service_key.not_found', kind: 'not_found', publicMessage: 'there is no such key' });
}

/** A key for one source has no business with keys, even when somebody gave it the scope admin. */
function assertNotSourceBound(caller: Caller): void {
  if (caller.sourceId !== null)
    throw new DomainError({ code: 'auth.bound_key', kind: 'forbidden', publicMessage: 'this route is not for keys bound to one source' });
}
