import { Module, type DynamicModule } from '@nestjs/common';
import { Clock, SystemClock } from '../../kernel/index.js';
import { AuditLog } from '../audit/audit-log.js';
import type { Config } from '../config/config.js';
import { HealthChecks } from '../health/health.js';
import { OutgoingHttp } from '../http/outgoing.js';
import { createLogger, Logger } from '../logging/logger.js';
import { Database } from '../postgres/database.js';

/** Token of the validated environment: `useCase(PutTenant, [CONFIG])`. */
export const CONFIG = Symbol('tollgate.config');
/** Token of the provisioned admin key, `string | null`. */
export const ADMIN_KEY = Symbol('tollgate.admin-key');

export interface PlatformOptions {
  readonly config: Config;
  readonly database: Database;
  /** The key a machine was provisioned with; by default the one of the environment. */
  readonly adminKey?: string | null | undefined;
  readonly clock?: Clock | undefined;
  readonly logger?: Logger | undefined;
  readonly health?: HealthChecks | undefined;
}

/** Global: what every context may inject without importing it (Database, Clock, Logger, CONFIG, ADMIN_KEY, HealthChecks, AuditLog, OutgoingHttp). */
@Module({})
export class PlatformModule {
  static register(options: PlatformOptions): DynamicModule {
    const providers = [
      { provide: CONFIG, useValue: options.config },
      { provide: ADMIN_KEY, useValue: options.adminKey ?? options.config.adminKey },
      { provide: Database, useValue: options.database },
      { provide: Clock, useValue: options.clock ?? new SystemClock() },
      { provide: Logger, useValue: options.logger ?? createLogger({ level: options.config.logLevel }) },
      { provide: HealthChecks, useValue: options.health ?? new HealthChecks() },
      { provide: AuditLog, useValue: new AuditLog() },
      { provide: OutgoingHttp, useValue: new OutgoingHttp(options.config.outgoingAllow) },
    ];
    return { module: PlatformModule, global: true, providers, exports: providers.map((provider) => provider.provide) };
  }
}
