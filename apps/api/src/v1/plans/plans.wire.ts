import type { Plan } from '#libs/tenancy/index.js';
import type { PlanWire } from './plans.schemas.js';

export function toPlanWire(plan: Plan): PlanWire {
  return {
    plan_id: plan.planId,
    name: plan.name,
    rate_card_id: plan.rateCardId,
    created_at: plan.createdAt.toISOString(),
    updated_at: plan.updatedAt.toISOString(),
  };
}
