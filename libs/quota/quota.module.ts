import { Module, type DynamicModule, type ModuleMetadata } from '@nestjs/common';
import { Clock } from '#libs/kernel/index.js';
import { RecordEvents, SourceDirectory } from '#libs/metering/index.js';
import { Logger } from '#libs/platform/logging/logger.js';
import { useCase } from '#libs/platform/nest/use-case.js';
import { Database } from '#libs/platform/postgres/database.js';
import { PriceBook, PricingModule } from '#libs/pricing/index.js';
import { TenancyModule, TenantDirectory } from '#libs/tenancy/index.js';
import { AuthorizeCall, type QuotaSettings } from './application/authorize-call.js';
import { DecisionLog } from './application/decision-log.js';
import { EstimateCall } from './application/estimate-call.js';
import { ForgetOldQuotaRows } from './application/forget-old-quota-rows.js';
import { HoldEvents } from './application/hold-events.js';
import { HoldJournal } from './application/hold-journal.js';
import { HoldReader } from './application/hold-reader.js';
import { ExtendHold, FindHold, ReleaseHold, SettleHold } from './application/manage-hold.js';
import { OutputSizes } from './application/output-sizes.js';
import { FundingSource, QuotaFence } from './application/ports.js';
import { QuotaService, type QuotaTruth } from './application/quota-service.js';
import { QuotaStore } from './application/quota-store.js';
import { DecisionReader } from './application/read-decisions.js';
import { ReadHeld } from './application/read-held.js';
import { RelayBalances } from './application/relay-balances.js';
import { StopPromising } from './application/stop-promising.js';
import { SweepHolds, type ForgottenHolds } from './application/sweep-holds.js';
import { MemoryQuotaStore } from './memory/memory-quota-store.js';
import { forgetDecisions, insertDecisions } from './postgres/decision-rows.js';
import { assertEpoch, epochOf } from './postgres/epoch.js';
import { writeHolds } from './postgres/hold-rows.js';
import { readOutputSizes } from './postgres/output-size-rows.js';
import { PostgresDecisionReader, PostgresHoldReader } from './postgres/postgres-readers.js';
import { QuotaHeldAmounts } from './postgres/quota-held-amounts.js';
import { QuotaParticipant } from './postgres/quota-participant.js';
import { commitCeilings, forgetHolds, readTenantSnapshots, sealCeilings, settleMissed, tenantsToSweep } from './postgres/tenant-snapshots.js';

export interface QuotaModuleSettings extends QuotaSettings {
  /** How long a decision waits for PostgreSQL. */
  readonly storeDeadlineMs: number;
}

export interface QuotaModuleOptions {
  readonly fence: QuotaFence;
  readonly settings: QuotaModuleSettings;
  /** What provides metering, {@link FundingSource} and {@link QuotaPostingModule}. */
  readonly imports: NonNullable<ModuleMetadata['imports']>;
}

const SETTINGS = Symbol('tollgate.quota-settings');
const TRUTH = Symbol('tollgate.quota-truth');
const FORGOTTEN = Symbol('tollgate.forgotten-holds');

function truthOf(database: Database, funding: FundingSource, clock: Clock, settings: QuotaModuleSettings): QuotaTruth {
  return {
    load: async (tenantIds, epoch) => await readTenantSnapshots(database, funding, { tenantIds, epoch, now: clock.now(), fenceTtlMs: settings.holdTtlMs }),
    raise: async (epoch, raises) => await commitCeilings(database, epoch, raises),
  };
}

function journalOf(database: Database, fence: QuotaFence, logger: Logger): HoldJournal {
  return new HoldJournal(
    async (ended, live) =>
      await database.transaction(async (tx) => {
        await assertEpoch(tx, epochOf(fence));
        await writeHolds(tx, ended, live);
      }),
    (error) => logger.error({ error }, 'holds were not written'),
  );
}

const useCases = [
  useCase(QuotaService, [QuotaStore, HoldJournal, TRUTH, QuotaFence, Clock, SETTINGS]),
  useCase(EstimateCall, [PriceBook, OutputSizes]),
  useCase(HoldEvents, [RecordEvents, SourceDirectory]),
  useCase(AuthorizeCall, [QuotaService, TenantDirectory, EstimateCall, DecisionLog, Clock, SETTINGS]),
  useCase(FindHold, [QuotaService, HoldReader]),
  useCase(SettleHold, [FindHold, HoldEvents, Clock]),
  useCase(ReleaseHold, [QuotaService, FindHold]),
  useCase(ExtendHold, [QuotaService, FindHold, TenantDirectory, EstimateCall, Clock]),
  useCase(ReadHeld, [QuotaService, HoldReader, Clock]),
  useCase(RelayBalances, [Database, QuotaService, QuotaStore, HoldJournal, Clock]),
  useCase(SweepHolds, [QuotaService, QuotaStore, HoldJournal, HoldEvents, FORGOTTEN, Clock]),
];

/** What the posting transaction needs of quota, apart from the rest because metering imports it and the rest imports metering. */
@Module({})
export class QuotaPostingModule {
  static register(fence: QuotaFence): DynamicModule {
    const participant = { provide: QuotaParticipant, inject: [Clock], useFactory: (clock: Clock) => new QuotaParticipant(fence, clock) };
    const journal = {
      provide: HoldJournal,
      inject: [Database, Logger],
      useFactory: (database: Database, logger: Logger) => journalOf(database, fence, logger),
    };
    return {
      module: QuotaPostingModule,
      providers: [participant, journal, useCase(QuotaHeldAmounts, [HoldJournal])],
      exports: [QuotaParticipant, QuotaHeldAmounts, HoldJournal],
    };
  }
}

@Module({})
export class QuotaModule {
  static register({ fence, settings, imports }: QuotaModuleOptions): DynamicModule {
    return {
      module: QuotaModule,
      imports: [PricingModule, TenancyModule, ...imports],
      providers: [
        { provide: SETTINGS, useValue: settings },
        { provide: QuotaFence, useValue: fence },
        { provide: QuotaStore, useClass: MemoryQuotaStore },
        { provide: TRUTH, inject: [Database, FundingSource, Clock, SETTINGS], useFactory: truthOf },
        { provide: DecisionLog, inject: [Database], useFactory: (database: Database) => new DecisionLog((rows) => insertDecisions(database, rows)) },
        {
          provide: OutputSizes,
          inject: [Database, Clock],
          useFactory: (database: Database, clock: Clock) =>
            new OutputSizes((tenantId, feature, model) => readOutputSizes(database, tenantId, feature, model), clock),
        },
        {
          provide: FORGOTTEN,
          inject: [Database],
          useFactory: (database: Database): ForgottenHolds => ({
            tenantsToSweep: (now, limit) => tenantsToSweep(database, now, limit),
            settleMissed: (since) => settleMissed(database, since),
          }),
        },
        {
          provide: ForgetOldQuotaRows,
          inject: [Database, Clock],
          useFactory: (database: Database, clock: Clock) =>
            new ForgetOldQuotaRows({ decisions: (before) => forgetDecisions(database, before), holds: (now) => forgetHolds(database, now) }, clock),
        },
        {
          provide: StopPromising,
          inject: [HoldJournal, DecisionLog, QuotaFence, Database],
          useFactory: (journal: HoldJournal, log: DecisionLog, held: QuotaFence, database: Database) =>
            new StopPromising(journal, log, held, (epoch) => sealCeilings(database, epoch)),
        },
        { ...useCase(PostgresHoldReader, [Database]), provide: HoldReader },
        { ...useCase(PostgresDecisionReader, [Database]), provide: DecisionReader },
        ...useCases,
      ],
      exports: [
        HoldReader,
        DecisionReader,
        DecisionLog,
        QuotaStore,
        QuotaFence,
        ForgetOldQuotaRows,
        StopPromising,
        ...useCases.map((provider) => provider.provide),
      ],
    };
  }
}
