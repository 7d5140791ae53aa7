import { Body, Controller, Delete, Get, Param, Post, Query } from '@nestjs/common';
import { ApiCreatedResponse, ApiHeader, ApiOkResponse, ApiTags } from '@nestjs/swagger';
import { DomainError, formatUsd, fromWireId, toWireId } from '#libs/kernel/index.js';
import { CreditKey, ReadKeyBalances, type KeyBalance } from '#libs/quota/index.js';
import { CreateApiKey, FindApiKey, ListApiKeys, RevokeApiKey, RotateApiKey, TenantDirectory, type ApiKey, type Caller } from '#libs/tenancy/index.js';
import { CurrentCaller, RequestId, RequireScope } from '../../http/access.js';
import { IdempotencyKey } from '../../http/idempotency-key.js';
import { decodeCursor, toPage, type Page } from '../../http/schemas.js';
import { tenantNotFound } from '../../http/tenant-access.js';
import { tenantId } from '../tenants/tenants.schemas.js';
import {
  apiKeyId,
  apiKeyPage,
  apiKeyWire,
  createApiKeyBody,
  creditKeyBody,
  keyCreditWire,
  listApiKeysQuery,
  newApiKeyWire,
  type ApiKeyWire,
  type CreateApiKeyBody,
  type CreditKeyBody,
  type KeyCreditWire,
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
    private readonly findKey: FindApiKey,
    private readonly creditKey: CreditKey,
    private readonly readBalances: ReadKeyBalances,
    private readonly tenants: TenantDirectory,
  ) {}

  /** Makes a key for one of the tenant's apps, to be sent as `api_key` to authorize. Its own limit is a budget with `scope: {api_key_id}`, or a balance of its own. */
  @Post()
  @RequireScope('admin')
  @ApiCreatedResponse({ standardSchema: newApiKeyWire })
  async create(
    @Param('tenant_id', { schema: tenantId }) tenant: string,
    @Body({ schema: createApiKeyBody }) body: CreateApiKeyBody,
    @CurrentCaller() caller: Caller,
    @RequestId() requestId: string,
  ): Promise<NewApiKeyWire> {
    const context = { actor: caller.actor, requestId };
    const amountNano = body.prepaid_usd ?? null;
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
        prepaid: amountNano !== null,
        expiresAt: body.expires_at ?? null,
      },
      context,
    });
    // Before anybody knows the key's text; one whose balance was never opened is refused.
    if (amountNano !== null)
      await this.creditKey.execute({ tenantId: tenant, apiKeyId: toWireId('ak', key.apiKeyId), amountNano, reference: null, idempotencyKey: null, context });
    return { ...(await this.withBalance(key)), key: rawKey };
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
    const balances = await this.balancesOf(tenant, rows);
    return toPage(
      rows,
      query.limit,
      (key) => [toWireId('ak', key.apiKeyId)],
      (key) => toWire(key, balances),
    );
  }

  @Get(':api_key_id')
  @RequireScope('admin')
  @ApiOkResponse({ standardSchema: apiKeyWire })
  async get(@Param('tenant_id', { schema: tenantId }) tenant: string, @Param('api_key_id', { schema: apiKeyId }) id: string): Promise<ApiKeyWire> {
    return await this.withBalance(await this.findKey.execute({ tenantId: tenant, apiKeyId: uuidOf(id) }));
  }

  /** More for a key with a balance of its own. It moves no money: the tenant pays for its calls, and has to have enough. */
  @Post(':api_key_id/credits')
  @RequireScope('admin')
  @ApiHeader({ name: 'Idempotency-Key', required: false })
  @ApiCreatedResponse({ standardSchema: keyCreditWire })
  async credit(
    @Param('tenant_id', { schema: tenantId }) tenant: string,
    @Param('api_key_id', { schema: apiKeyId }) id: string,
    @Body({ schema: creditKeyBody }) body: CreditKeyBody,
    @CurrentCaller() caller: Caller,
    @RequestId() requestId: string,
    @IdempotencyKey() key: string | null,
  ): Promise<KeyCreditWire> {
    const input = { tenantId: tenant, apiKeyId: toWireId('ak', uuidOf(id)), amountNano: body.amount_usd, reference: body.reference ?? null };
    const credit = await this.creditKey.execute({ ...input, idempotencyKey: key, context: { actor: caller.actor, requestId } });
    if (credit === null) throw keyNotFound();
    return {
      credit_id: credit.creditId,
      api_key_id: credit.apiKeyId,
      amount_usd: formatUsd(credit.amountNano),
      reference: credit.reference,
      created_at: credit.createdAt.toISOString(),
    };
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
    return await this.withBalance(await this.revokeKey.execute({ tenantId: tenant, apiKeyId: uuidOf(id), context: { actor: caller.actor, requestId } }));
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
    return { ...toWire(key, new Map()), key: rawKey };
  }

  private async withBalance(key: ApiKey): Promise<ApiKeyWire> {
    return toWire(key, await this.balancesOf(key.tenantId, [key]));
  }

  private async balancesOf(tenant: string, keys: readonly ApiKey[]): Promise<ReadonlyMap<string, KeyBalance>> {
    const apiKeyIds = keys.filter(({ prepaid }) => prepaid).map((key) => toWireId('ak', key.apiKeyId));
    return await this.readBalances.execute({ tenantId: tenant, apiKeyIds });
  }
}

function uuidOf(wireId: string): string {
  const uuid = fromWireId('ak', wireId);
  if (uuid === null) throw keyNotFound();
  return uuid;
}

function keyNotFound(): DomainError {
  return new DomainError({ code: 'api_key.not_found', kind: 'not_found', publicMessage: 'there is no such key' });
}

const EMPTY_BALANCE: KeyBalance = { grantedNano: 0n, usedNano: 0n, heldNano: 0n };

function toPrepaidWire({ grantedNano, usedNano, heldNano }: KeyBalance): NonNullable<ApiKeyWire['prepaid']> {
  const left = grantedNano - usedNano;
  return {
    granted_usd: formatUsd(grantedNano),
    used_usd: formatUsd(usedNano),
    held_usd: heldNano === null ? null : formatUsd(heldNano),
    // What ran beyond its estimate is owed by the tenant's wallet, and by the next credit of the key.
    available_usd: heldNano === null ? null : formatUsd(left - heldNano),
  };
}

function toWire(key: ApiKey, balances: ReadonlyMap<string, KeyBalance>): ApiKeyWire {
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
    prepaid: key.prepaid ? toPrepaidWire(balances.get(toWireId('ak', key.apiKeyId)) ?? EMPTY_BALANCE) : null,
  };
}
