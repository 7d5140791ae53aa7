/** Every migration, oldest first. Append only; a merged one is never edited. */
import type { MigrationInterface } from 'typeorm';
import { PlatformFoundation20261122000100 } from './20261122000100-platform-foundation.js';
import { Tenancy20261122000200 } from './20261122000200-tenancy.js';
import { Pricing20261122000300 } from './20261122000300-pricing.js';
import { Ledger20261122000400 } from './20261122000400-ledger.js';
import { Metering20261122000500 } from './20261122000500-metering.js';
import { Reporting20261122000600 } from './20261122000600-reporting.js';
import { Quota20261122000700 } from './20261122000700-quota.js';
import { QuotaBudgets20261122000800 } from './20261122000800-quota-budgets.js';
import { TenantKeys20261122000810 } from './20261122000810-tenant-keys.js';
import { QuotaRedis20261122000950 } from './20261122000950-quota-redis.js';

export const migrations: readonly (new () => MigrationInterface)[] = [
  PlatformFoundation20261122000100,
  Tenancy20261122000200,
  Pricing20261122000300,
  Ledger20261122000400,
  Metering20261122000500,
  Reporting20261122000600,
  Quota20261122000700,
  QuotaBudgets20261122000800,
  TenantKeys20261122000810,
  QuotaRedis20261122000950,
];
