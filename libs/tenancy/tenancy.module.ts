import { Inject, Module, type OnApplicationShutdown, type OnModuleInit } from '@nestjs/common';
import { Clock } from '../kernel/index.js';
import { AuditLog } from '../platform/audit/audit-log.js';
import type { Config } from '../platform/config/config.js';
import { Logger } from '../platform/logging/logger.js';
import { ADMIN_KEY, CONFIG } from '../platform/nest/platform.module.js';
import { useCase } from '../platform/nest/use-case.js';
import { Database } from '../platform/postgres/database.js';
import { ApiKeyDirectory } from './application/api-key-directory.js';
import { ApiKeyStore } from './application/api-key-store.js';
import { AuthenticateCaller } from './application/authenticate-caller.js';
import { CreateApiKey, FindApiKey, ListApiKeys, RevokeApiKey, RotateApiKey } from './application/change-api-key.js';
import { CreateServiceKey } from './application/create-service-key.js';
import { GetPlan } from './application/get-plan.js';
import { ListPlans } from './application/list-plans.js';
import { ListServiceKeys } from './application/list-service-keys.js';
import { ListTenants } from './application/list-tenants.js';
import { PlanRepository, ServiceKeyRepository, TenantRepository } from './application/ports.js';
import { PutPlan } from './application/put-plan.js';
import { PutTenant } from './application/put-tenant.js';
import { KEY_USE_INTERVAL_MS, RecordKeyUse } from './application/record-key-use.js';
import { RevokeServiceKey } from './application/revoke-service-key.js';
import { RotateServiceKey } from './application/rotate-service-key.js';
import { SettingsRevision } from './application/settings-revision.js';
import { TenantDirectory } from './application/tenant-directory.js';
import { PostgresApiKeyStore } from './postgres/postgres-api-key-store.js';
import { PostgresPlanRepository } from './postgres/plan.repository.js';
import { readRevision } from './postgres/revision.js';
import { PostgresServiceKeyRepository } from './postgres/service-key.repository.js';
import { PostgresTenantRepository } from './postgres/tenant.repository.js';

const SETTINGS = Symbol('tollgate.tenancy-settings');

@Module({
  providers: [
    { provide: SETTINGS, inject: [CONFIG], useFactory: (config: Config) => ({ newTenantsPerHour: config.newTenantsPerHour, keyEnvironment: 'live' }) },
    { provide: TenantRepository, useClass: PostgresTenantRepository },
    { provide: PlanRepository, useClass: PostgresPlanRepository },
    { provide: ServiceKeyRepository, useClass: PostgresServiceKeyRepository },
    { provide: ApiKeyStore, useClass: PostgresApiKeyStore },
    { provide: SettingsRevision, inject: [Database], useFactory: (database: Database) => new SettingsRevision(async () => await readRevision(database)) },
    useCase(TenantDirectory, [Database, TenantRepository, AuditLog, Clock, SETTINGS, SettingsRevision]),
    useCase(RecordKeyUse, [Database, ServiceKeyRepository]),
    useCase(AuthenticateCaller, [Database, ServiceKeyRepository, RecordKeyUse, Clock, ADMIN_KEY, SettingsRevision]),
    useCase(PutTenant, [Database, TenantRepository, TenantDirectory, AuditLog, Clock]),
    useCase(ListTenants, [Database, TenantRepository]),
    useCase(PutPlan, [Database, PlanRepository, TenantDirectory, AuditLog, Clock]),
    useCase(ListPlans, [Database, PlanRepository]),
    useCase(GetPlan, [Database, PlanRepository]),
    useCase(CreateServiceKey, [Database, ServiceKeyRepository, AuthenticateCaller, AuditLog, Clock, SETTINGS]),
    useCase(RotateServiceKey, [Database, ServiceKeyRepository, AuthenticateCaller, AuditLog, Clock, SETTINGS]),
    useCase(RevokeServiceKey, [Database, ServiceKeyRepository, AuthenticateCaller, AuditLog, Clock]),
    useCase(ListServiceKeys, [Database, ServiceKeyRepository]),
    useCase(ApiKeyDirectory, [Database, ApiKeyStore, Clock, SettingsRevision]),
    useCase(CreateApiKey, [Database, ApiKeyStore, ApiKeyDirectory, AuditLog, Clock]),
    useCase(RotateApiKey, [Database, ApiKeyStore, ApiKeyDirectory, AuditLog, Clock]),
    useCase(RevokeApiKey, [Database, ApiKeyStore, ApiKeyDirectory, AuditLog, Clock]),
    useCase(FindApiKey, [Database, ApiKeyStore]),
    useCase(ListApiKeys, [Database, ApiKeyStore]),
  ],
  exports: [
    TenantDirectory,
    AuthenticateCaller,
    PutTenant,
    ListTenants,
    PutPlan,
    ListPlans,
    GetPlan,
    CreateServiceKey,
    RotateServiceKey,
    RevokeServiceKey,
    ListServiceKeys,
    ApiKeyDirectory,
    CreateApiKey,
    RotateApiKey,
    RevokeApiKey,
    FindApiKey,
    ListApiKeys,
  ],
})
export class TenancyModule implements OnModuleInit, OnApplicationShutdown {
  private timer: NodeJS.Timeout | undefined;

  constructor(
    @Inject(RecordKeyUse) private readonly keyUse: RecordKeyUse,
    @Inject(Logger) private readonly logger: Logger,
  ) {}

  onModuleInit(): void {
    this.timer = setInterval(() => void this.recordKeyUse(), KEY_USE_INTERVAL_MS);
    this.timer.unref();
  }

  async onApplicationShutdown(): Promise<void> {
    clearInterval(this.timer);
    await this.recordKeyUse();
  }

  private async recordKeyUse(): Promise<void> {
    await this.keyUse.execute().catch((error: unknown) => this.logger.warn({ error }, 'last use of keys was not recorded'));
  }
}
