import { Module, type DynamicModule, type Type } from '@nestjs/common';
import { AlertingModule, CreditHistory, RaiseAlert, WatchConflicts, WatchSpend } from '#libs/alerting/index.js';
import { Clock } from '#libs/kernel/index.js';
import { LedgerModule, ReadRecentCredits, ReadWallets } from '#libs/ledger/index.js';
import { MeteringModule } from '#libs/metering/index.js';
import type { Config } from '#libs/platform/config/config.js';
import type { SpendWakeUp } from '#libs/platform/queue/spend-wake-up.js';
import { PricingModule } from '#libs/pricing/index.js';
import {
  CrossingListener,
  FundingSource,
  QuotaHeldAmounts,
  QuotaModule,
  QuotaParticipant,
  QuotaPostingModule,
  type QuotaFence,
  type QuotaStore,
} from '#libs/quota/index.js';
import { ReportingModule, SpendMonthRollup } from '#libs/reporting/index.js';
import { TenancyModule, TenantDirectory } from '#libs/tenancy/index.js';
import { LedgerCreditHistory } from './credit-history.js';
import { CrossingAlerts } from './crossing-alerts.js';
import { LedgerFunding } from './ledger-funding.js';

@Module({
  imports: [LedgerModule],
  providers: [{ provide: FundingSource, inject: [ReadWallets], useFactory: (readWallets: ReadWallets) => new LedgerFunding(readWallets) }],
  exports: [FundingSource],
})
class FundingModule {}

@Module({
  imports: [LedgerModule],
  providers: [
    {
      provide: CreditHistory,
      inject: [ReadRecentCredits, Clock],
      useFactory: (credits: ReadRecentCredits, clock: Clock) => new LedgerCreditHistory(credits, clock),
    },
  ],
  exports: [CreditHistory],
})
class CreditHistoryModule {}

/** Budgets' crossings are told as alerts. */
@Module({})
class CrossingAlertsModule {
  static register(alerting: DynamicModule): DynamicModule {
    return {
      module: CrossingAlertsModule,
      imports: [alerting, TenancyModule],
      providers: [
        {
          provide: CrossingListener,
          inject: [RaiseAlert, TenantDirectory],
          useFactory: (raiseAlert: RaiseAlert, tenants: TenantDirectory) => new CrossingAlerts(raiseAlert, tenants),
        },
      ],
      exports: [CrossingListener],
    };
  }
}

/** The contexts that the API and the worker are both made of, and who takes part in the posting transaction. */
export function contextModules(options: { config: Config; wakeUp: SpendWakeUp; fence: QuotaFence; store?: QuotaStore | undefined }): (Type | DynamicModule)[] {
  const { config, wakeUp, fence, store } = options;
  const posting = QuotaPostingModule.register(fence, config);
  const alerting = AlertingModule.register({ imports: [CreditHistoryModule] });
  const metering = MeteringModule.register({
    settings: config,
    wakeUp,
    participants: [SpendMonthRollup, QuotaParticipant, WatchSpend],
    heldAmounts: QuotaHeldAmounts,
    conflicts: WatchConflicts,
    imports: [ReportingModule, posting, alerting],
  });
  return [
    TenancyModule,
    PricingModule,
    LedgerModule,
    ReportingModule,
    alerting,
    metering,
    posting,
    QuotaModule.register({ fence, store, settings: config, imports: [metering, posting, FundingModule, CrossingAlertsModule.register(alerting)] }),
  ];
}
