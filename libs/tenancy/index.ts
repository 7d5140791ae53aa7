/** Tenants, plans and service keys: who is charged, and who calls. */
export { ApiKeyDirectory } from './application/api-key-directory.js';
export { AuthenticateCaller } from './application/authenticate-caller.js';
export { CreateApiKey, FindApiKey, ListApiKeys, RevokeApiKey, RotateApiKey } from './application/change-api-key.js';
export { CreateServiceKey } from './application/create-service-key.js';
export { GetPlan } from './application/get-plan.js';
export { ListPlans } from './application/list-plans.js';
export { ListServiceKeys } from './application/list-service-keys.js';
export { ListTenants } from './application/list-tenants.js';
export { PutPlan } from './application/put-plan.js';
export { PutTenant } from './application/put-tenant.js';
export { RevokeServiceKey } from './application/revoke-service-key.js';
export { RotateServiceKey } from './application/rotate-service-key.js';
export { TenantDirectory } from './application/tenant-directory.js';
export type { ApiKey } from './domain/api-key.js';
export type { Caller } from './domain/caller.js';
export type { Plan } from './domain/plan.js';
export { SCOPES, type Scope, type ServiceKey } from './domain/service-key.js';
export {
  BILLING_KINDS,
  ENFORCEMENTS,
  HOLD_DURABILITIES,
  isTimeZone,
  STORE_FAILURE_POLICIES,
  TENANT_STATUSES,
  TIMEZONE_RULE,
  UNKNOWN_TENANT_ID,
  UNRESOLVED_POLICIES,
  type Tenant,
  type TenantRecord,
  type TenantChange,
} from './domain/tenant.js';
export { TenancyModule } from './tenancy.module.js';
