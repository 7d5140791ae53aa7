import { Body, Controller, Delete, Get, HttpCode, Param, Post, Put, Query, Res } from '@nestjs/common';
import { ApiCreatedResponse, ApiHeader, ApiOkResponse, ApiTags } from '@nestjs/swagger';
import type { FastifyReply } from 'fastify';
import { DeleteBudget, EVERYBODY, PauseBudget, PutBudget, PutOverride, ReadBudgets, ReadLimits, RemoveOverride, TopUpBudget } from '#libs/quota/index.js';
import type { Caller } from '#libs/tenancy/index.js';
import { CurrentCaller, RequestId, RequireScope } from '../../http/access.js';
import { IdempotencyKey } from '../../http/idempotency-key.js';
import { toPage, type Page } from '../../http/schemas.js';
import { afterOf } from './budgets.controller.js';
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

/** Budgets of every tenant at once: one counter that all of them share, or, with `per: ["tenant_id"]`, each its own. */
@ApiTags('budgets')
@Controller('v1/budgets')
export class GlobalBudgetsController {
  constructor(
    private readonly putBudget: PutBudget,
    private readonly deleteBudget: DeleteBudget,
    private readonly readBudgets: ReadBudgets,
    private readonly pauseBudget: PauseBudget,
    private readonly putOverride: PutOverride,
    private readonly removeOverride: RemoveOverride,
    private readonly topUpBudget: TopUpBudget,
    private readonly readLimits: ReadLimits,
  ) {}

  @Put(':budget_id')
  @RequireScope('admin')
  @ApiOkResponse({ standardSchema: budgetWire })
  @ApiCreatedResponse({ standardSchema: budgetWire })
  async put(
    @Param('budget_id', { schema: budgetId }) id: string,
    @Body({ schema: putBudgetBody }) body: PutBudgetBody,
    @CurrentCaller() caller: Caller,
    @RequestId() requestId: string,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<BudgetWire> {
    const settings = toBudgetSettings(body, true);
    const { budget, created } = await this.putBudget.execute({ tenantId: EVERYBODY, budgetId: id, settings, context: { actor: caller.actor, requestId } });
    if (created) void reply.code(201);
    return toBudgetWire(budget);
  }

  @Get(':budget_id')
  @RequireScope('read', { boundKeys: 'refuse' })
  @ApiOkResponse({ standardSchema: budgetWire })
  async get(@Param('budget_id', { schema: budgetId }) id: string): Promise<BudgetWire> {
    return toBudgetWire(await this.readBudgets.find({ tenantId: EVERYBODY, budgetId: id }));
  }

  @Get()
  @RequireScope('read', { boundKeys: 'refuse' })
  @ApiOkResponse({ standardSchema: budgetPage })
  async list(@Query({ schema: listBudgetsQuery }) query: ListBudgetsQuery): Promise<Page<BudgetWire>> {
    const rows = await this.readBudgets.list(EVERYBODY, { after: afterOf(query.cursor), limit: query.limit + 1 });
    return toPage(rows, query.limit, (budget) => [budget.budgetId], toBudgetWire);
  }

  @Delete(':budget_id')
  @RequireScope('admin')
  @ApiOkResponse({ standardSchema: budgetWire, description: 'The budget that is no more' })
  async remove(@Param('budget_id', { schema: budgetId }) id: string, @CurrentCaller() caller: Caller, @RequestId() requestId: string): Promise<BudgetWire> {
    return toBudgetWire(await this.deleteBudget.execute({ tenantId: EVERYBODY, budgetId: id, context: { actor: caller.actor, requestId } }));
  }

  /** The budget refuses nothing until it is resumed; it goes on counting. */
  @Post(':budget_id/pause')
  @HttpCode(200)
  @RequireScope('admin')
  @ApiOkResponse({ standardSchema: budgetWire })
  async pause(@Param('budget_id', { schema: budgetId }) id: string, @CurrentCaller() caller: Caller, @RequestId() requestId: string): Promise<BudgetWire> {
    return toBudgetWire(await this.pauseBudget.execute({ tenantId: EVERYBODY, budgetId: id, paused: true, context: { actor: caller.actor, requestId } }));
  }

  @Post(':budget_id/resume')
  @HttpCode(200)
  @RequireScope('admin')
  @ApiOkResponse({ standardSchema: budgetWire })
  async resume(@Param('budget_id', { schema: budgetId }) id: string, @CurrentCaller() caller: Caller, @RequestId() requestId: string): Promise<BudgetWire> {
    return toBudgetWire(await this.pauseBudget.execute({ tenantId: EVERYBODY, budgetId: id, paused: false, context: { actor: caller.actor, requestId } }));
  }

  /** Other limits for one set of values of `per`; a limit it does not name stays the budget's. */
  @Post(':budget_id/overrides')
  @HttpCode(200)
  @RequireScope('admin')
  @ApiOkResponse({ standardSchema: overrideWire })
  async override(
    @Param('budget_id', { schema: budgetId }) id: string,
    @Body({ schema: overrideBody }) body: OverrideBody,
    @CurrentCaller() caller: Caller,
    @RequestId() requestId: string,
  ): Promise<OverrideWire> {
    const input = { tenantId: EVERYBODY, budgetId: id, values: toScope(body.values), limits: toLimits(body), context: { actor: caller.actor, requestId } };
    return toOverrideWire(await this.putOverride.execute(input));
  }

  @Get(':budget_id/overrides')
  @RequireScope('read', { boundKeys: 'refuse' })
  @ApiOkResponse({ standardSchema: overridePage })
  async overrides(
    @Param('budget_id', { schema: budgetId }) id: string,
    @Query({ schema: listBudgetsQuery }) query: ListBudgetsQuery,
  ): Promise<Page<OverrideWire>> {
    const rows = await this.readBudgets.overrides({ tenantId: EVERYBODY, budgetId: id }, { after: afterOf(query.cursor), limit: query.limit + 1 });
    return toPage(rows, query.limit, (row) => [row.valueKey], toOverrideWire);
  }

  @Delete(':budget_id/overrides/:override_id')
  @RequireScope('admin')
  @ApiOkResponse({ standardSchema: overrideWire, description: 'The override that is no more' })
  async removeOverrideOf(
    @Param('budget_id', { schema: budgetId }) id: string,
    @Param('override_id', { schema: valueKey }) override: string,
    @CurrentCaller() caller: Caller,
    @RequestId() requestId: string,
  ): Promise<OverrideWire> {
    return toOverrideWire(
      await this.removeOverride.execute({ tenantId: EVERYBODY, budgetId: id, valueKey: override, context: { actor: caller.actor, requestId } }),
    );
  }

  /** More of a limit in the period of now, and of now alone. */
  @Post(':budget_id/top-ups')
  @RequireScope('admin')
  @ApiHeader({ name: 'Idempotency-Key', required: false })
  @ApiCreatedResponse({ standardSchema: topUpWire })
  async topUp(
    @Param('budget_id', { schema: budgetId }) id: string,
    @Body({ schema: topUpBody }) body: TopUpBody,
    @CurrentCaller() caller: Caller,
    @RequestId() requestId: string,
    @IdempotencyKey() key: string | null,
  ): Promise<TopUpWire> {
    const input = { tenantId: EVERYBODY, budgetId: id, values: toScope(body.values), limits: toAmounts(body), idempotencyKey: key };
    return toTopUpWire(await this.topUpBudget.execute({ ...input, context: { actor: caller.actor, requestId } }));
  }

  /** Of a budget that all tenants share: what all of them booked, a second ago at most, and as held what is set aside for their calls. */
  @Get(':budget_id/status')
  @RequireScope('read', { boundKeys: 'refuse' })
  @ApiOkResponse({ standardSchema: budgetStatus })
  async status(@Param('budget_id', { schema: budgetId }) id: string, @Query({ schema: listBudgetsQuery }) query: ListBudgetsQuery): Promise<BudgetStatusWire> {
    const found = await this.readLimits.status({ tenantId: EVERYBODY, budgetId: id, after: afterOf(query.cursor), limit: query.limit + 1 });
    return toStatusWire(found, query.limit);
  }
}
