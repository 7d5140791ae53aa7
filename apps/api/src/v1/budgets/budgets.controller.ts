import { Body, Controller, Delete, Get, HttpCode, Param, Post, Put, Query, Res } from '@nestjs/common';
import { ApiCreatedResponse, ApiHeader, ApiOkResponse, ApiTags } from '@nestjs/swagger';
import type { FastifyReply } from 'fastify';
import { isExternalId } from '#libs/kernel/index.js';
import { DeleteBudget, PauseBudget, PutBudget, PutOverride, ReadBudgets, ReadLimits, RemoveOverride, TopUpBudget } from '#libs/quota/index.js';
import { TenantDirectory, type Caller } from '#libs/tenancy/index.js';
import { CurrentCaller, RequestId, RequireScope } from '../../http/access.js';
import { decodeCursor, toPage, type Page } from '../../http/schemas.js';
import { IdempotencyKey } from '../../http/idempotency-key.js';
import { tenantNotFound } from '../../http/tenant-access.js';
import { tenantId } from '../tenants/tenants.schemas.js';
import {
  budgetId,
  budgetPage,
  budgetStatus,
  budgetWire,
  listBudgetsQuery,
  overrideBody,
  overridePage,
  overrideWire,
  putBudgetBody,
  topUpBody,
  topUpWire,
  valueKey,
  type BudgetStatusWire,
  type BudgetWire,
  type ListBudgetsQuery,
  type OverrideBody,
  type OverrideWire,
  type PutBudgetBody,
  type TopUpBody,
  type TopUpWire,
} from './budgets.schemas.js';
import { toAmounts, toBudgetSettings, toBudgetWire, toLimits, toOverrideWire, toScope, toStatusWire, toTopUpWire } from './budgets.wire.js';

@ApiTags('budgets')
@Controller('v1/tenants/:tenant_id/budgets')
export class TenantBudgetsController {
  constructor(
    private readonly putBudget: PutBudget,
    private readonly pauseBudget: PauseBudget,
    private readonly deleteBudget: DeleteBudget,
    private readonly putOverride: PutOverride,
    private readonly removeOverride: RemoveOverride,
    private readonly topUpBudget: TopUpBudget,
    private readonly readBudgets: ReadBudgets,
    private readonly readLimits: ReadLimits,
    private readonly tenants: TenantDirectory,
  ) {}

  /** Creates a budget or replaces its settings. Limits count at once; what it counts makes a new version, which warms up first. */
  @Put(':budget_id')
  @RequireScope('admin')
  @ApiOkResponse({ standardSchema: budgetWire })
  @ApiCreatedResponse({ standardSchema: budgetWire })
  async put(
    @Param('tenant_id', { schema: tenantId }) tenant: string,
    @Param('budget_id', { schema: budgetId }) id: string,
    @Body({ schema: putBudgetBody }) body: PutBudgetBody,
    @CurrentCaller() caller: Caller,
    @RequestId() requestId: string,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<BudgetWire> {
    const settings = toBudgetSettings(body, false);
    const { budget, created } = await this.putBudget.execute({ tenantId: tenant, budgetId: id, settings, context: { actor: caller.actor, requestId } });
    if (created) void reply.code(201);
    return toBudgetWire(budget);
  }

  @Get(':budget_id')
  @RequireScope('read')
  @ApiOkResponse({ standardSchema: budgetWire })
  async get(@Param('tenant_id', { schema: tenantId }) tenant: string, @Param('budget_id', { schema: budgetId }) id: string): Promise<BudgetWire> {
    return toBudgetWire(await this.readBudgets.find({ tenantId: tenant, budgetId: id }));
  }

  @Get()
  @RequireScope('read')
  @ApiOkResponse({ standardSchema: budgetPage })
  async list(
    @Param('tenant_id', { schema: tenantId }) tenant: string,
    @Query({ schema: listBudgetsQuery }) query: ListBudgetsQuery,
  ): Promise<Page<BudgetWire>> {
    if ((await this.tenants.find(tenant)) === null) throw tenantNotFound();
    const rows = await this.readBudgets.list(tenant, { after: afterOf(query.cursor), limit: query.limit + 1 });
    return toPage(rows, query.limit, (budget) => [budget.budgetId], toBudgetWire);
  }

  @Delete(':budget_id')
  @RequireScope('admin')
  @ApiOkResponse({ standardSchema: budgetWire, description: 'The budget that is no more' })
  async remove(
    @Param('tenant_id', { schema: tenantId }) tenant: string,
    @Param('budget_id', { schema: budgetId }) id: string,
    @CurrentCaller() caller: Caller,
    @RequestId() requestId: string,
  ): Promise<BudgetWire> {
    return toBudgetWire(await this.deleteBudget.execute({ tenantId: tenant, budgetId: id, context: { actor: caller.actor, requestId } }));
  }

  /** The budget refuses nothing until it is resumed; it goes on counting. */
  @Post(':budget_id/pause')
  @HttpCode(200)
  @RequireScope('admin')
  @ApiOkResponse({ standardSchema: budgetWire })
  async pause(
    @Param('tenant_id', { schema: tenantId }) tenant: string,
    @Param('budget_id', { schema: budgetId }) id: string,
    @CurrentCaller() caller: Caller,
    @RequestId() requestId: string,
  ): Promise<BudgetWire> {
    return toBudgetWire(await this.pauseBudget.execute({ tenantId: tenant, budgetId: id, paused: true, context: { actor: caller.actor, requestId } }));
  }

  @Post(':budget_id/resume')
  @HttpCode(200)
  @RequireScope('admin')
  @ApiOkResponse({ standardSchema: budgetWire })
  async resume(
    @Param('tenant_id', { schema: tenantId }) tenant: string,
    @Param('budget_id', { schema: budgetId }) id: string,
    @CurrentCaller() caller: Caller,
    @RequestId() requestId: string,
  ): Promise<BudgetWire> {
    return toBudgetWire(await this.pauseBudget.execute({ tenantId: tenant, budgetId: id, paused: false, context: { actor: caller.actor, requestId } }));
  }

  /** Other limits for one set of values of `per`; a limit it does not name stays the budget's. */
  @Post(':budget_id/overrides')
  @HttpCode(200)
  @RequireScope('admin')
  @ApiOkResponse({ standardSchema: overrideWire })
  async override(
    @Param('tenant_id', { schema: tenantId }) tenant: string,
    @Param('budget_id', { schema: budgetId }) id: string,
    @Body({ schema: overrideBody }) body: OverrideBody,
    @CurrentCaller() caller: Caller,
    @RequestId() requestId: string,
  ): Promise<OverrideWire> {
    const input = { tenantId: tenant, budgetId: id, values: toScope(body.values), limits: toLimits(body), context: { actor: caller.actor, requestId } };
    return toOverrideWire(await this.putOverride.execute(input));
  }

  @Get(':budget_id/overrides')
  @RequireScope('read')
  @ApiOkResponse({ standardSchema: overridePage })
  async overrides(
    @Param('tenant_id', { schema: tenantId }) tenant: string,
    @Param('budget_id', { schema: budgetId }) id: string,
    @Query({ schema: listBudgetsQuery }) query: ListBudgetsQuery,
  ): Promise<Page<OverrideWire>> {
    const rows = await this.readBudgets.overrides({ tenantId: tenant, budgetId: id }, { after: afterOf(query.cursor), limit: query.limit + 1 });
    return toPage(rows, query.limit, (row) => [row.valueKey], toOverrideWire);
  }

  @Delete(':budget_id/overrides/:override_id')
  @RequireScope('admin')
  @ApiOkResponse({ standardSchema: overrideWire, description: 'The override that is no more' })
  async removeOverrideOf(
    @Param('tenant_id', { schema: tenantId }) tenant: string,
    @Param('budget_id', { schema: budgetId }) id: string,
    @Param('override_id', { schema: valueKey }) override: string,
    @CurrentCaller() caller: Caller,
    @RequestId() requestId: string,
  ): Promise<OverrideWire> {
    return toOverrideWire(
      await this.removeOverride.execute({ tenantId: tenant, budgetId: id, valueKey: override, context: { actor: caller.actor, requestId } }),
    );
  }

  /** More of a limit in the period of now, and of now alone. */
  @Post(':budget_id/top-ups')
  @RequireScope('admin')
  @ApiHeader({ name: 'Idempotency-Key', required: false })
  @ApiCreatedResponse({ standardSchema: topUpWire })
  async topUp(
    @Param('tenant_id', { schema: tenantId }) tenant: string,
    @Param('budget_id', { schema: budgetId }) id: string,
    @Body({ schema: topUpBody }) body: TopUpBody,
    @CurrentCaller() caller: Caller,
    @RequestId() requestId: string,
    @IdempotencyKey() key: string | null,
  ): Promise<TopUpWire> {
    const input = { tenantId: tenant, budgetId: id, values: toScope(body.values), limits: toAmounts(body), idempotencyKey: key };
    return toTopUpWire(await this.topUpBudget.execute({ ...input, context: { actor: caller.actor, requestId } }));
  }

  /** What was used and is held in the period of now, by value. */
  @Get(':budget_id/status')
  @RequireScope('read')
  @ApiOkResponse({ standardSchema: budgetStatus })
  async status(
    @Param('tenant_id', { schema: tenantId }) tenant: string,
    @Param('budget_id', { schema: budgetId }) id: string,
    @Query({ schema: listBudgetsQuery }) query: ListBudgetsQuery,
  ): Promise<BudgetStatusWire> {
    const found = await this.readLimits.status({ tenantId: tenant, budgetId: id, after: afterOf(query.cursor), limit: query.limit + 1 });
    return toStatusWire(found, query.limit);
  }
}

export function afterOf(cursor: string | undefined): string | null {
  return decodeCursor(cursor, ([id, ...rest]) => id !== undefined && rest.length === 0 && isExternalId(id))?.[0] ?? null;
}
