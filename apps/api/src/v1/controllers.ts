import type { Type } from '@nestjs/common';
import { AuditController } from './audit/audit.controller.js';
import { DocsController } from './ops/docs.controller.js';
import { OpsController } from './ops/ops.controller.js';
import { PlansController } from './plans/plans.controller.js';
import { ServiceKeysController } from './service-keys/service-keys.controller.js';
import { TenantsController } from './tenants/tenants.controller.js';

/** Every controller the API serves; a new resource adds its line here. */
export const controllers: Type[] = [OpsController, DocsController, TenantsController, PlansController, ServiceKeysController, AuditController];
