import { formatUsd, toWireId, type Json } from '../../kernel/index.js';
import type { Plan } from '../domain/plan.js';
import type { ServiceKey } from '../domain/service-key.js';
import type { Tenant } from '../domain/tenant.js';

/** A tenant as the audit trail keeps it. */
export function describeTenant(tenant: Tenant): Json {
  return {
    name: tenant.name,
    plan_id: tenant.planId,
    billing: tenant.billing,
    credit_limit_usd: formatUsd(tenant.creditLimitNano),
    enforcement: tenant.enforcement,
    on_store_failure: tenant.onStoreFailure,
    hold_durability: tenant.holdDurability,
    unresolved_policy: tenant.unresolvedPolicy,
    status: tenant.status,
    timezone: tenant.timezone,
    owner: tenant.owner === null ? null : { email: tenant.owner.email ?? null, channel_ids: [...(tenant.owner.channelIds ?? [])] },
    stripe_customer_id: tenant.stripeCustomerId,
    auto_created: tenant.autoCreated,
  };
}

/** A plan as the audit trail keeps it. */
export function describePlan(plan: Plan): Json {
  return { name: plan.name, rate_card_id: plan.rateCardId };
}

/** A key as the audit trail keeps it: never its secret or digest. */
export function describeKey(key: ServiceKey): Json {
  return {
    name: key.name,
    scopes: [...key.scopes],
    tenant_id: key.tenantId,
    source_id: key.sourceId,
    replaces: key.replaces === null ? null : toWireId('key', key.replaces),
    expires_at: key.expiresAt?.toISOString() ?? null,
    revoked_at: key.revokedAt?.toISOString() ?? null,
  };
}
