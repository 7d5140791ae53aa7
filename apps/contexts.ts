import type { DynamicModule, Type } from '@nestjs/common';
import { LedgerModule } from '#libs/ledger/index.js';
import { MeteringModule } from '#libs/metering/index.js';
import type { Config } from '#libs/platform/config/config.js';
import type { SpendWakeUp } from '#libs/platform/queue/spend-wake-up.js';
import { PricingModule } from '#libs/pricing/index.js';
import { ReportingModule, SpendMonthRollup } from '#libs/reporting/index.js';
import { TenancyModule } from '#libs/tenancy/index.js';

/** The contexts that the API and the worker are both made of, and who takes part in the posting transaction. */
export function contextModules(options: { config: Config; wakeUp: SpendWakeUp }): (Type | DynamicModule)[] {
  return [
    TenancyModule,
    PricingModule,
    LedgerModule,
    ReportingModule,
    MeteringModule.register({ settings: options.config, wakeUp: options.wakeUp, participants: [SpendMonthRollup], imports: [ReportingModule] }),
  ];
}
