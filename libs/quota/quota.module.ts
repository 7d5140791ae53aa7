import { Module, type DynamicModule, type ModuleMetadata } from '@nestjs/common';
import { Clock } from '#libs/kernel/index.js';
import { PostedSpendReader, RecordEvents, SourceDirectory, SpendHistory } from '#libs/metering/index.js';
import { AuditLog } from '#libs/platform/audit/audit-log.js';
import { Logger } from '#libs/platform/logging/logger.js';
import { useCase } from '#libs/platform/nest/use-case.js';
import { Database, type Sql } from '#libs/platform/postgres/database.js';
import { PriceBook, PricingModule } from '#libs/pricing/index.js';
import { ApiKeyDirectory, ListTenants, TenancyModule, TenantDirectory } from '#libs/tenancy/index.js';
import { AuthorizeCall, type QuotaSettings } from './application/authorize-call.js';
import { BudgetStore } from './application/budget-store.js';
import { DeleteBudget, PauseBudget, PutOverride, ReadBudgets, RemoveOverride, TopUpBudget } from './application/change-budget.js';
import { CountSharedBudgets } from './application/count-shared-budgets.js';
import { CrossingReader } from './application/crossing-reader.js';
import { CreditKey, KeyCreditStore } from './application/credit-key.js';
import { DecisionLog } from './application/decision-log.js';
import { EstimateCall } from './application/estimate-call.js';
import { everyTenantId } from './application/every-tenant-id.js';
import { FollowTimeZones } from './application/follow-time-zones.js';
import { ForgetOldQuotaRows } from './application/forget-old-quota-rows.js';
import { HoldEvents } from './application/hold-events.js';
import { HoldHistory } from './application/hold-history.js';
import { HoldJournal } from './application/hold-journal.js';
import { HoldReader } from './application/hold-reader.js';
import { ExtendHold, FindHold, ReleaseHold, SettleHold } from './application/manage-hold.js';
import { LocalSlices } from './application/local-slices.js';
import { OutputSizes } from './application/output-sizes.js';
import { FundingSource, QuotaFence } from './application/ports.js';
import { PlanCandidates } from './application/plan-candidates.js';
import { PutBudget } from './application/put-budget.js';
import { PutRoutes } from './application/put-routes.js';
import { QuotaService, type QuotaTruth } from './application/quota-service.js';
import { QuotaStore } from './application/quota-store.js';
import { DecisionReader } from './application/read-decisions.js';
import { ReadHeld } from './application/read-held.js';
import { ReadKeyBalances } from './application/read-key-balances.js';
import { ReadLimits, type StandingRows } from './application/read-limits.js';
import { ReclaimLeases } from './application/reclaim-leases.js';
import { RecogniseKey } from './application/recognise-key.js';
import { RelayBalances } from './application/relay-balances.js';
import { RuleBook } from './application/rule-book.js';
import { BYPASS, StoreAway } from './application/store-away.js';
import { SIMULATION_BOUNDS, SimulateBudget } from './application/simulate-budget.js';
import { StopPromising } from './application/stop-promising.js';
import { SweepHolds, type ForgottenHolds } from './application/sweep-holds.js';
import { CrossingListener, TellCrossings } from './application/tell-crossings.js';
import { WarmBudgets } from './application/warm-budgets.js';
import type { Hold } from './domain/hold.js';
import { loopGuard, type LoopGuardSettings } from './domain/loop-guard.js';
import { MemoryQuotaStore } from './memory/memory-quota-store.js';
import { backFill } from './postgres/back-fill.js';
import { forgetCounters, readLiveCounters } from './postgres/counter-rows.js';
import { forgetDecisions, insertDecisions } from './postgres/decision-rows.js';
import { assertEpoch, assertNodeEpochs, epochOf } from './postgres/epoch.js';
import { writeHolds } from './postgres/hold-rows.js';
import { readOutputSizes } from './postgres/output-size-rows.js';
import { PostgresBudgetStore } from './postgres/postgres-budget-store.js';
import { PostgresCrossingReader } from './postgres/postgres-crossing-reader.js';
import { PostgresHoldHistory } from './postgres/postgres-hold-history.js';
import { PostgresKeyCreditStore } from './postgres/postgres-key-credit-store.js';
import { readLeased } from './postgres/lease-rows.js';
import { PostgresLeasePools } from './postgres/postgres-lease-pools.js';
import { PostgresRuleStore } from './postgres/postgres-rule-store.js';
import { PostgresDecisionReader, PostgresHoldReader } from './postgres/postgres-readers.js';
import { QuotaHeldAmounts } from './postgres/quota-held-amounts.js';
import { QuotaParticipant } from './postgres/quota-participant.js';
import { addUpShared, coverExcess } from './postgres/shared-counters.js';
import { commitCeilings, forgetHolds, readTenantSnapshots, rememberAskers, sealCeilings, settleMissed, tenantsToSweep } from './postgres/tenant-snapshots.js';

export interface QuotaModuleSettings extends QuotaSettings {
  /** How long a decision waits for PostgreSQL. */
  readonly storeDeadlineMs: number;
}

export interface QuotaModuleOptions {
  readonly fence: QuotaFence;
  /** Absent: in this process's memory. */
  readonly store?: QuotaStore | undefined;
  readonly settings: QuotaModuleSettings;
  /** What provides metering, {@link FundingSource} and {@link QuotaPostingModule}. */
  readonly imports: NonNullable<ModuleMetadata['imports']>;
}

const SETTINGS = Symbol('tollgate.quota-settings');
const TRUTH = Symbol('tollgate.quota-truth');
const FORGOTTEN = Symbol('tollgate.forgotten-holds');
const STANDING = Symbol('tollgate.standing-rows');

function truthOf(database: Database, funding: FundingSource, book: RuleBook, clock: Clock, settings: QuotaModuleSettings, fence: QuotaFence): QuotaTruth {
  const rules = async (tx: Sql, tenantIds: readonly string[]) => await book.readSnapshot(tx, tenantIds);
  return {
    load: async (tenantIds, epoch) =>
      await readTenantSnapshots(database, funding, { tenantIds, epoch, shared: !fence.exclusive, now: clock.now(), fenceTtlMs: settings.holdTtlMs, rules }),
    raise: async (epoch, raises) => await commitCeilings(database, epoch, raises),
    pools: new PostgresLeasePools(database, book, clock),
  };
}

function journalOf(database: Database, fence: QuotaFence, logger: Logger): HoldJournal {
  const byId = (holds: readonly Hold[]): Hold[] => holds.toSorted((a, b) => (a.holdId < b.holdId ? -1 : 1));
  return new HoldJournal(
    async (ended, live, epochs) =>
      await database.transaction(async (tx) => {
        await (fence.exclusive ? assertEpoch(tx, epochOf(fence)) : assertNodeEpochs(tx, epochs));
        await rememberAskers(
          tx,
          live.flatMap((hold) => (hold.resolution === BYPASS ? [hold.tenantId] : [])),
        );
        await writeHolds(tx, byId(ended), byId(live));
      }),
    (error) => logger.error({ error }, 'holds were not written'),
    !fence.exclusive,
  );
}

/** Advisory lock of whoever brings bookings to a shared store. */
const RELAY_LOCK_KEY = 0x72656c61;

function relayOf(database: Database, quota: QuotaService, store: QuotaStore, journal: HoldJournal, clock: Clock): RelayBalances {
  const alone = async (work: () => Promise<number>): Promise<number> =>
    await database.transaction(async (tx) => {
      await tx.execute(`SELECT pg_advisory_xact_lock(${RELAY_LOCK_KEY})`);
      return await work();
    });
  return new RelayBalances(database, quota, store, journal, clock, quota.isShared ? alone : async (work) => await work());
}

function standingRows(database: Database, holds: HoldReader, funding: FundingSource): StandingRows {
  return {
    hasHeld: async (tenantId) => await holds.hasHeld(tenantId),
    counters: async (tenantId, rules, nowMs) => (await readLiveCounters(database, new Map([[tenantId, rules]]), nowMs)).get(tenantId) ?? [],
    leased: async (leases) => await readLeased(database, leases),
    postedNano: async (tenantId) => (await funding.wallets(database, [tenantId])).get(tenantId)?.postedNano ?? 0n,
  };
}

function simulationOf(
  database: Database,
  holds: HoldHistory,
  spend: SpendHistory,
  tenants: TenantDirectory,
  rules: RuleBook,
  plans: PlanCandidates,
  estimate: EstimateCall,
  prices: PriceBook,
  clock: Clock,
): SimulateBudget {
  // In memory whatever the process promises from: what is tried belongs to nobody else.
  return new SimulateBudget(database, { holds, spend }, tenants, rules, { plans, estimate, prices }, () => new MemoryQuotaStore(), clock, SIMULATION_BOUNDS);
}

const budgetProviders = [
  {
    provide: WarmBudgets,
    inject: [Database, BudgetStore, RuleBook, PostedSpendReader, ListTenants, Clock],
    useFactory: (database: Database, store: BudgetStore, book: RuleBook, events: PostedSpendReader, tenants: ListTenants, clock: Clock) => {
      const tenantIds = async (): Promise<string[]> => await everyTenantId(tenants);
      return new WarmBudgets(database, store, book, (budget) => backFill({ database, events, store, tenantIds }, budget, clock.now().getTime()));
    },
  },
  { provide: STANDING, inject: [Database, HoldReader, FundingSource], useFactory: standingRows },
  { provide: HoldHistory, useClass: PostgresHoldHistory },
  {
    provide: SimulateBudget,
    inject: [Database, HoldHistory, SpendHistory, TenantDirectory, RuleBook, PlanCandidates, EstimateCall, PriceBook, Clock],
    useFactory: simulationOf,
  },
  { ...useCase(PostgresBudgetStore, [Database]), provide: BudgetStore },
  { provide: KeyCreditStore, useClass: PostgresKeyCreditStore },
  { ...useCase(PostgresCrossingReader, [Database]), provide: CrossingReader },
  {
    provide: TellCrossings,
    inject: [Database, CrossingListener, Logger],
    useFactory: (database: Database, listener: CrossingListener, logger: Logger) =>
      new TellCrossings(database, listener, (error, failed) => logger.error({ error, failed }, 'crossings were not told; they are tried again')),
  },
];

/** What keeps budgets true that all tenants share. */
const sharedBudgetProviders = [
  { provide: ReclaimLeases, inject: [QuotaService], useFactory: (quota: QuotaService) => quota.reclaim },
  {
    provide: CountSharedBudgets,
    inject: [Database, RuleBook, Clock],
    useFactory: (database: Database, book: RuleBook, clock: Clock) =>
      new CountSharedBudgets(
        async (at, limit) => await addUpShared(database, book, at, limit),
        async (at, limit) => await coverExcess(database, at, limit),
        clock,
      ),
  },
];

const useCases = [
  useCase(QuotaService, [QuotaStore, HoldJournal, TRUTH, QuotaFence, Clock, SETTINGS]),
  useCase(EstimateCall, [PriceBook, OutputSizes]),
  useCase(HoldEvents, [RecordEvents, SourceDirectory]),
  useCase(PlanCandidates, [EstimateCall]),
  useCase(RecogniseKey, [ApiKeyDirectory]),
  useCase(LocalSlices, [QuotaService, Clock, SETTINGS]),
  useCase(StoreAway, [HoldJournal, LocalSlices, Clock]),
  useCase(AuthorizeCall, [
    QuotaService,
    TenantDirectory,
    EstimateCall,
    PlanCandidates,
    RuleBook,
    RecogniseKey,
    StoreAway,
    LocalSlices,
    DecisionLog,
    Clock,
    SETTINGS,
  ]),
  useCase(PutBudget, [BudgetStore, TenantDirectory, RuleBook, WarmBudgets, AuditLog, Clock]),
  useCase(PauseBudget, [BudgetStore, RuleBook, AuditLog, Clock]),
  useCase(DeleteBudget, [BudgetStore, RuleBook, AuditLog, Clock]),
  useCase(PutOverride, [BudgetStore, RuleBook, AuditLog, Clock]),
  useCase(RemoveOverride, [BudgetStore, RuleBook, AuditLog, Clock]),
  useCase(TopUpBudget, [BudgetStore, RuleBook, AuditLog, Clock]),
  useCase(FollowTimeZones, [Database, BudgetStore, TenantDirectory, RuleBook, AuditLog, Clock]),
  useCase(ReadBudgets, [Database, BudgetStore]),
  useCase(PutRoutes, [Database, BudgetStore, TenantDirectory, RuleBook, AuditLog, Clock]),
  useCase(ReadLimits, [QuotaService, RuleBook, TenantDirectory, BudgetStore, STANDING, Database, Clock]),
  useCase(ReadKeyBalances, [ReadLimits]),
  useCase(CreditKey, [ApiKeyDirectory, BudgetStore, KeyCreditStore, RuleBook, AuditLog, Clock]),
  useCase(FindHold, [QuotaService, HoldReader]),
  useCase(SettleHold, [FindHold, HoldEvents, Clock]),
  useCase(ReleaseHold, [QuotaService, FindHold]),
  useCase(ExtendHold, [QuotaService, FindHold, TenantDirectory, EstimateCall, RuleBook, Clock]),
  useCase(ReadHeld, [QuotaService, HoldReader, Clock]),
  { provide: RelayBalances, inject: [Database, QuotaService, QuotaStore, HoldJournal, Clock], useFactory: relayOf },
  useCase(SweepHolds, [QuotaService, QuotaStore, HoldJournal, HoldEvents, FORGOTTEN, Clock]),
];

/** The rules and what the posting transaction needs of quota, apart from the rest because metering imports it and the rest imports metering. */
@Module({})
export class QuotaPostingModule {
  static register(fence: QuotaFence, settings: LoopGuardSettings): DynamicModule {
    const rules = {
      provide: RuleBook,
      inject: [Database, Clock],
      useFactory: (database: Database, clock: Clock) => new RuleBook(database, new PostgresRuleStore(), loopGuard(settings), () => clock.now().getTime()),
    };
    const participant = {
      provide: QuotaParticipant,
      inject: [RuleBook, Clock],
      useFactory: (book: RuleBook, clock: Clock) => new QuotaParticipant(fence, book, clock),
    };
    const journal = {
      provide: HoldJournal,
      inject: [Database, Logger],
      useFactory: (database: Database, logger: Logger) => journalOf(database, fence, logger),
    };
    return {
      module: QuotaPostingModule,
      providers: [rules, participant, journal, useCase(QuotaHeldAmounts, [HoldJournal])],
      exports: [QuotaParticipant, QuotaHeldAmounts, HoldJournal, RuleBook],
    };
  }
}

@Module({})
export class QuotaModule {
  static register({ fence, store, settings, imports }: QuotaModuleOptions): DynamicModule {
    return {
      module: QuotaModule,
      imports: [PricingModule, TenancyModule, ...imports],
      providers: [
        { provide: SETTINGS, useValue: settings },
        { provide: QuotaFence, useValue: fence },
        { provide: QuotaStore, useValue: store ?? new MemoryQuotaStore() },
        { provide: TRUTH, inject: [Database, FundingSource, RuleBook, Clock, SETTINGS, QuotaFence], useFactory: truthOf },
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
            new ForgetOldQuotaRows(
              {
                decisions: (before) => forgetDecisions(database, before),
                holds: (now) => forgetHolds(database, now),
                counters: (now) => forgetCounters(database, now),
              },
              clock,
            ),
        },
        {
          provide: StopPromising,
          inject: [HoldJournal, DecisionLog, QuotaFence, Database],
          useFactory: (journal: HoldJournal, log: DecisionLog, held: QuotaFence, database: Database) =>
            new StopPromising(journal, log, held, (epoch) => sealCeilings(database, epoch)),
        },
        ...budgetProviders,
        ...sharedBudgetProviders,
        { ...useCase(PostgresHoldReader, [Database]), provide: HoldReader },
        { ...useCase(PostgresDecisionReader, [Database]), provide: DecisionReader },
        ...useCases,
      ],
      exports: [
        HoldReader,
        BudgetStore,
        CrossingReader,
        TellCrossings,
        WarmBudgets,
        SimulateBudget,
        DecisionReader,
        DecisionLog,
        QuotaStore,
        QuotaFence,
        ForgetOldQuotaRows,
        StopPromising,
        ReclaimLeases,
        CountSharedBudgets,
        ...useCases.map((provider) => provider.provide),
      ],
    };
  }
}
