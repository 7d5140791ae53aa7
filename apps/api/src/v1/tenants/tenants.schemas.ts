import { z } from 'zod';
import {
  BILLING_KINDS,
  ENFORCEMENTS,
  HOLD_DURABILITIES,
  isTimeZone,
  STORE_FAILURE_POLICIES,
  TENANT_STATUSES,
  TIMEZONE_RULE,
  UNRESOLVED_POLICIES,
} from '#libs/tenancy/index.js';
import { externalId, page, pageOf, text, usd } from '../../http/schemas.js';

const MAX_CHANNELS = 20;

const owner = z.strictObject({
  email: z.email('must be an e-mail address').max(254, 'must be an e-mail address').optional(),
  channel_ids: z.array(externalId()).max(MAX_CHANNELS).optional(),
});

export const tenantId = externalId();

/** Every field is optional: an absent one keeps its value (its default for a new tenant), null clears one that may be empty. */
export const putTenantBody = z
  .strictObject({
    name: text(200).nullable().optional(),
    plan_id: externalId().nullable().optional(),
    billing: z.enum(BILLING_KINDS).optional(),
    credit_limit_usd: usd().optional(),
    enforcement: z.enum(ENFORCEMENTS).optional(),
    on_store_failure: z.enum(STORE_FAILURE_POLICIES).optional(),
    hold_durability: z.enum(HOLD_DURABILITIES).optional(),
    unresolved_policy: z.enum(UNRESOLVED_POLICIES).nullable().optional(),
    status: z.enum(TENANT_STATUSES).optional(),
    timezone: z.string().max(64).refine(isTimeZone, TIMEZONE_RULE).optional(),
    owner: owner.nullable().optional(),
    stripe_customer_id: z
      .string()
      .regex(/^cus_[A-Za-z0-9]{1,64}$/, 'must be a Stripe customer id such as "cus_Abc123"')
      .nullable()
      .optional(),
  })
  .meta({ id: 'TenantChange' });
export type PutTenantBody = z.infer<typeof putTenantBody>;

export const listTenantsQuery = z.strictObject({ ...page, auto_created: z.enum(['true', 'false']).optional() });
export type ListTenantsQuery = z.infer<typeof listTenantsQuery>;

export const tenantWire = z
  .object({
    tenant_id: z.string(),
    name: z.string().nullable(),
    plan_id: z.string().nullable(),
    billing: z.enum(BILLING_KINDS),
    credit_limit_usd: z.string(),
    enforcement: z.enum(ENFORCEMENTS),
    on_store_failure: z.enum(STORE_FAILURE_POLICIES),
    hold_durability: z.enum(HOLD_DURABILITIES),
    unresolved_policy: z.enum(UNRESOLVED_POLICIES).nullable(),
    status: z.enum(TENANT_STATUSES),
    timezone: z.string(),
    owner: z.object({ email: z.string().nullable(), channel_ids: z.array(z.string()) }).nullable(),
    stripe_customer_id: z.string().nullable(),
    auto_created: z.boolean(),
    created_at: z.string(),
    updated_at: z.string(),
  })
  .meta({ id: 'Tenant' });
export type TenantWire = z.infer<typeof tenantWire>;

export const tenantPage = pageOf(tenantWire);
