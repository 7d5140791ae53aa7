import { Body, Controller, Delete, Get, Param, Put, Query, Res } from '@nestjs/common';
import { ApiCreatedResponse, ApiOkResponse, ApiTags } from '@nestjs/swagger';
import type { FastifyReply } from 'fastify';
import { DeleteBudget, EVERYBODY, PutBudget, ReadBudgets } from '#libs/quota/index.js';
import type { Caller } from '#libs/tenancy/index.js';
import { CurrentCaller, RequestId, RequireScope } from '../../http/access.js';
import { toPage, type Page } from '../../http/schemas.js';
import { afterOf } from './budgets.controller.js';
import {
  budgetId,
  budgetPage,
  budgetWire,
  listBudgetsQuery,
  putBudgetBody,
  type BudgetWire,
  type ListBudgetsQuery,
  type PutBudgetBody,
} from './budgets.schemas.js';
import { toBudgetSettings, toBudgetWire } from './budgets.wire.js';

/** Budgets of every tenant at once: with `per: ["tenant_id"]`, each tenant its own counter. */
@ApiTags('budgets')
@Controller('v1/budgets')
export class GlobalBudgetsController {
  constructor(
    private readonly putBudget: PutBudget,
    private readonly deleteBudget: DeleteBudget,
    private readonly readBudgets: ReadBudgets,
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
}
