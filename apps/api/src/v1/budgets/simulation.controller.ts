import { Body, Controller, HttpCode, Param, Post } from '@nestjs/common';
import { ApiOkResponse, ApiTags } from '@nestjs/swagger';
import { SimulateBudget } from '#libs/quota/index.js';
import { RequireScope } from '../../http/access.js';
import { tenantId } from '../tenants/tenants.schemas.js';
import { toBudgetSettings } from './budgets.wire.js';
import { budgetSimulation, simulateBudgetBody, type BudgetSimulationWire, type SimulateBudgetBody } from './simulation.schemas.js';
import { toSimulationWire } from './simulation.wire.js';

@ApiTags('budgets')
@Controller('v1/tenants/:tenant_id/budgets/simulate')
export class SimulationController {
  constructor(private readonly simulateBudget: SimulateBudget) {}

  /** What a draft budget would have blocked and saved, tried on the recorded past; nothing is written. */
  @Post()
  @HttpCode(200)
  @RequireScope('read')
  @ApiOkResponse({ standardSchema: budgetSimulation })
  async simulate(
    @Param('tenant_id', { schema: tenantId }) tenant: string,
    @Body({ schema: simulateBudgetBody }) body: SimulateBudgetBody,
  ): Promise<BudgetSimulationWire> {
    const simulation = await this.simulateBudget.execute({
      tenantId: tenant,
      settings: toBudgetSettings(body, false),
      from: body.from,
      to: body.to,
      ladders: body.routes === undefined ? undefined : new Map(Object.entries(body.routes)),
      listed: body.blocked_calls,
    });
    return toSimulationWire(simulation);
  }
}
