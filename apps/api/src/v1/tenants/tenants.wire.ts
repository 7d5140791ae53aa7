import { formatUsd } from '#libs/kernel/index.js';
import type { TenantChange, TenantRecord } from '#libs/tenancy/index.js';
import type { PutTenantBody, TenantWire } from './tenants.schemas.js';

export function toTenantChange(body: PutTenantBody): TenantChange {
  return {
    name: body.name,
    planId: body.plan_id,
    billing: body.billing,
    creditLimitNano: body.credit_limit_usd,
    enforcement: body.enforcement,
    onStoreFailure: body.on_store_failure,
    holdDurability: body.hold_durability,
    unresolvedPolicy: body.unresolved_policy,
    status: body.status,
    timezone: body.timezone,
    owner: body.owner === undefined || body.owner === null ? body.owner : { email: body.owner.email, channelIds: body.owner.channel_ids },
    stripeCustomerId: body.stripe_customer_id,
  };
}

export function toTenantWire(tenant: TenantRecord): TenantWire {
  return {
    tenant_id: tenant.tenantId,
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
    created_at: tenant.createdAt.toISOString(),
    updated_at: tenant.updatedAt.toISOString(),
  };
}
