import { Body, Controller, Get, Param, Put, Query } from '@nestjs/common';
import { ApiOkResponse, ApiTags } from '@nestjs/swagger';
import { DomainError, isExternalId } from '#libs/kernel/index.js';
import { GetPlan, ListPlans, PutPlan, type Caller } from '#libs/tenancy/index.js';
import { CurrentCaller, RequestId, RequireScope } from '../../http/access.js';
import { decodeCursor, toPage, type Page } from '../../http/schemas.js';
import { listPlansQuery, planId, planPage, planWire, putPlanBody, type ListPlansQuery, type PlanWire, type PutPlanBody } from './plans.schemas.js';
import { toPlanWire } from './plans.wire.js';

/** Plans are the operator's, so keys bound to a tenant or source do not see them. */
@ApiTags('plans')
@Controller('v1/plans')
export class PlansController {
  constructor(
    private readonly putPlan: PutPlan,
    private readonly listPlans: ListPlans,
    private readonly getPlan: GetPlan,
  ) {}

  @Put(':plan_id')
  @RequireScope('admin')
  @ApiOkResponse({ standardSchema: planWire })
  async put(
    @Param('plan_id', { schema: planId }) id: string,
    @Body({ schema: putPlanBody }) body: PutPlanBody,
    @CurrentCaller() caller: Caller,
    @RequestId() requestId: string,
  ): Promise<PlanWire> {
    return toPlanWire(
      await this.putPlan.execute({ planId: id, name: body.name, rateCardId: body.rate_card_id ?? null, context: { actor: caller.actor, requestId } }),
    );
  }

  @Get(':plan_id')
  @RequireScope('read', { boundKeys: 'refuse' })
  @ApiOkResponse({ standardSchema: planWire })
  async get(@Param('plan_id', { schema: planId }) id: string): Promise<PlanWire> {
    const plan = await this.getPlan.execute(id);
    if (plan === null) throw new DomainError({ code: 'plan.not_found', kind: 'not_found', publicMessage: 'there is no such plan' });
    return toPlanWire(plan);
  }

  @Get()
  @RequireScope('read', { boundKeys: 'refuse' })
  @ApiOkResponse({ standardSchema: planPage })
  async list(@Query({ schema: listPlansQuery }) query: ListPlansQuery): Promise<Page<PlanWire>> {
    const after = decodeCursor(query.cursor, ([id, ...rest]) => id !== undefined && rest.length === 0 && isExternalId(id));
    return toPage(await this.listPlans.execute({ after: after?.[0], limit: query.limit }), query.limit, (plan) => [plan.planId], toPlanWire);
  }
}
