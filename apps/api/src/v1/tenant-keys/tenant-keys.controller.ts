import { Body, Controller, Delete, Get, Param, Post, Query } from '@nestjs/common';
import { ApiCreatedResponse, ApiOkResponse, ApiTags } from '@nestjs/swagger';
import { DomainError, fromWireId, toWireId } from '#libs/kernel/index.js';
import { CreateApiKey, ListApiKeys, RevokeApiKey, RotateApiKey, TenantDirectory, type ApiKey, type Caller } from '#libs/tenancy/index.js';
import { CurrentCaller, RequestId, RequireScope } from '../../http/access.js';
import { decodeCursor, toPage, type Page } from '../../http/schemas.js';
import { tenantNotFound } from '../../http/tenant-access.js';
import { tenantId } from '../tenants/tenants.schemas.js';
import {
  apiKeyId,
  apiKeyPage,
  apiKeyWire,
  createApiKeyBody,
  listApiKeysQuery,
  newApiKeyWire,
  type ApiKeyWire,
  type CreateApiKeyBody,
  type ListApiKeysQuery,
  type NewApiKeyWire,
} from './tenant-keys.schemas.js';

@ApiTags('tenants')
@Controller('v1/tenants/:tenant_id/keys')
export class TenantKeysController {
  constructor(
    private readonly createKey: CreateApiKey,
    private readonly rotateKey: RotateApiKey,
    private readonly revokeKey: RevokeApiKey,
    private readonly listKeys: ListApiKeys,
    private readonly tenants: TenantDirectory,
  ) {}

  /** Makes a key for one of the tenant's apps, to be sent as `api_key` to authorize. Its own limit is a budget with `scope: {api_key_id}`. */
  @Post()
  @RequireScope('admin')
  @ApiCreatedResponse({ standardSchema: newApiKeyWire })
  async create(
    @Param('tenant_id', { schema: tenantId }) tenant: string,
    @Body({ schema: createApiKeyBody }) body: CreateApiKeyBody,
    @CurrentCaller() caller: Caller,
    @RequestId() requestId: string,
  ): Promise<NewApiKeyWire> {
    const { key, rawKey } = await this.createKey.execute({
      tenantId: tenant,
      settings: {
        name: body.name,
        app: body.app ?? null,
        assistantId: body.assistant_id ?? null,
        workflow: body.workflow ?? null,
        environment: body.environment ?? null,
        models: body.models ?? null,
        allowCritical: body.allow_critical,
        expiresAt: body.expires_at ?? null,
      },
      context: { actor: caller.actor, requestId },
    });
    return { ...toWire(key), key: rawKey };
  }

  @Get()
  @RequireScope('admin')
  @ApiOkResponse({ standardSchema: apiKeyPage })
  async list(
    @Param('tenant_id', { schema: tenantId }) tenant: string,
    @Query({ schema: listApiKeysQuery }) query: ListApiKeysQuery,
  ): Promise<Page<ApiKeyWire>> {
    if ((await this.tenants.find(tenant)) === null) throw tenantNotFound();
    const before = decodeCursor(query.cursor, ([id, ...rest]) => id !== undefined && rest.length === 0 && fromWireId('ak', id) !== null);
    const rows = await this.listKeys.execute({
      tenantId: tenant,
      before: before?.[0] === undefined ? null : fromWireId('ak', before[0]),
      limit: query.limit + 1,
    });
    return toPage(rows, query.limit, (key) => [toWireId('ak', key.apiKeyId)], toWire);
  }

  /** Revokes the key: this process refuses it at once, every other within a second. */
  @Delete(':api_key_id')
  @RequireScope('admin')
  @ApiOkResponse({ standardSchema: apiKeyWire })
  async revoke(
    @Param('tenant_id', { schema: tenantId }) tenant: string,
    @Param('api_key_id', { schema: apiKeyId }) id: string,
    @CurrentCaller() caller: Caller,
    @RequestId() requestId: string,
  ): Promise<ApiKeyWire> {
    return toWire(await this.revokeKey.execute({ tenantId: tenant, apiKeyId: uuidOf(id), context: { actor: caller.actor, requestId } }));
  }

  /** Makes a second key with the same settings; the old one lives until it is revoked. */
  @Post(':api_key_id/rotate')
  @RequireScope('admin')
  @ApiCreatedResponse({ standardSchema: newApiKeyWire })
  async rotate(
    @Param('tenant_id', { schema: tenantId }) tenant: string,
    @Param('api_key_id', { schema: apiKeyId }) id: string,
    @CurrentCaller() caller: Caller,
    @RequestId() requestId: string,
  ): Promise<NewApiKeyWire> {
    const { key, rawKey } = await this.rotateKey.execute({ tenantId: tenant, apiKeyId: uuidOf(id), context: { actor: caller.actor, requestId } });
    return { ...toWire(key), key: rawKey };
  }
}

function uuidOf(wireId: string): string {
  const uuid = fromWireId('ak', wireId);
  if (uuid === null) throw new DomainError({ code: 'api_key.not_found', kind: 'not_found', publicMessage: 'there is no such key' });
  return uuid;
}

function toWire(key: ApiKey): ApiKeyWire {
  return {
    api_key_id: toWireId('ak', key.apiKeyId),
    tenant_id: key.tenantId,
    name: key.name,
    app: key.app,
    assistant_id: key.assistantId,
    workflow: key.workflow,
    environment: key.environment,
    models: key.models === null ? null : [...key.models],
    allow_critical: key.allowCritical,
    replaces: key.replaces === null ? null : toWireId('ak', key.replaces),
    created_at: key.createdAt.toISOString(),
    expires_at: key.expiresAt?.toISOString() ?? null,
    revoked_at: key.revokedAt?.toISOString() ?? null,
  };
}
