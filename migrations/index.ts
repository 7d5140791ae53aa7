/** Every migration, oldest first. Append only; a merged one is never edited. */
import type { MigrationInterface } from 'typeorm';
import { PlatformFoundation20261122000100 } from './20261122000100-platform-foundation.js';
import { Tenancy20261122000200 } from './20261122000200-tenancy.js';
import { Pricing20261122000300 } from './20261122000300-pricing.js';
import { Ledger20261122000400 } from './20261122000400-ledger.js';
import { Metering20261122000500 } from './20261122000500-metering.js';
import { Reporting20261122000600 } from './20261122000600-reporting.js';
import { Quota20261122000700 } from './20261122000700-quota.js';
import { TenancyRevision20261122000710 } from './20261122000710-tenancy-revision.js';
import { QuotaHoldIndex20261122000720 } from './20261122000720-quota-hold-index.js';
import { QuotaCaptureAgain20261122000730 } from './20261122000730-quota-capture-again.js';
import { QuotaBudgets20261122000800 } from './20261122000800-quota-budgets.js';
import { TenantKeys20261122000810 } from './20261122000810-tenant-keys.js';
import { TenantKeyRevision20261122000820 } from './20261122000820-tenant-key-revision.js';
import { SourceAuthorizeHeaders20261122000850 } from './20261122000850-source-authorize-headers.js';
import { Alerting20261122000900 } from './20261122000900-alerting.js';
import { LedgerLotsByTenant20261122000910 } from './20261122000910-ledger-lots-by-tenant.js';
import { QuotaRedis20261122000950 } from './20261122000950-quota-redis.js';
import { QuotaAskTerms20261122000970 } from './20261122000970-quota-ask-terms.js';
import { KeyBalances20261122001110 } from './20261122001110-key-balances.js';
import { QuotaRollingCrossings20261122001100 } from './20261122001100-quota-rolling-crossings.js';
import { QuotaLeases20261122001000 } from './20261122001000-quota-leases.js';

export const migrations: readonly (new () => MigrationInterface)[] = [
  PlatformFoundation20261122000100,
  Tenancy20261122000200,
  Pricing20261122000300,
  Ledger20261122000400,
  Metering20261122000500,
  Reporting20261122000600,
  Quota20261122000700,
  TenancyRevision20261122000710,
  QuotaHoldIndex20261122000720,
  QuotaCaptureAgain20261122000730,
  QuotaBudgets20261122000800,
  TenantKeys20261122000810,
  TenantKeyRevision20261122000820,
  SourceAuthorizeHeaders20261122000850,
  Alerting20261122000900,
  LedgerLotsByTenant20261122000910,
  QuotaRedis20261122000950,
  QuotaAskTerms20261122000970,
  QuotaLeases20261122001000,
  QuotaRollingCrossings20261122001100,
  KeyBalances20261122001110,
];
