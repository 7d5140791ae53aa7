import { Module, type DynamicModule, type InjectionToken, type ModuleMetadata } from '@nestjs/common';
import { Clock, type Nano } from '#libs/kernel/index.js';
import { LedgerModule, SpendLedger } from '#libs/ledger/index.js';
import { AuditLog } from '#libs/platform/audit/audit-log.js';
import { useCase } from '#libs/platform/nest/use-case.js';
import { Database } from '#libs/platform/postgres/database.js';
import { SpendWakeUp } from '#libs/platform/queue/spend-wake-up.js';
import { PriceBook, PricingModule } from '#libs/pricing/index.js';
import { TenancyModule, TenantDirectory } from '#libs/tenancy/index.js';
import { DeadLetterStore } from './application/dead-letter-store.js';
import { EventReader } from './application/event-reader.js';
import { GroupCommit } from './application/group-commit.js';
import { EventInbox } from './application/inbox.js';
import { PostPendingSpend } from './application/post-pending-spend.js';
import { HeldAmounts, type ConflictObserver, type PostingParticipant } from './application/ports.js';
import { PostingStore } from './application/posting-store.js';
import { PutSource } from './application/put-source.js';
import { PostedSpendReader } from './application/read-posted-spend.js';
import { SpendHistory } from './application/read-spend-history.js';
import { RecordEvents } from './application/record-events.js';
import { ReplayDeadLetter } from './application/replay-dead-letter.js';
import { RequeueQuarantined } from './application/requeue-quarantined.js';
import { SourceDirectory } from './application/source-directory.js';
import { ForgetOldEventKeys, KeepPartitionsAhead, MeasurePostingLag, SweepPending } from './application/sweep-pending.js';
import { RecentEvents } from './memory/recent-events.js';
import { PostgresDeadLetterStore } from './postgres/postgres-dead-letter-store.js';
import { PostgresEventReader } from './postgres/postgres-event-reader.js';
import { PostgresInbox } from './postgres/postgres-inbox.js';
import { PostgresPostedSpendReader } from './postgres/postgres-posted-spend-reader.js';
import { PostgresSpendHistory } from './postgres/postgres-spend-history.js';
import { PostgresPostingStore } from './postgres/postgres-posting-store.js';
import { PostgresSourceDirectory } from './postgres/postgres-source-directory.js';

export interface MeteringSettings {
  readonly eventMaxAgeDays: number;
  readonly absurdCostNano: Nano;
}

export interface MeteringOptions {
  readonly settings: MeteringSettings;
  readonly wakeUp: SpendWakeUp;
  /** Who takes part in the posting transaction, in this order; `imports` provides them. */
  readonly participants: readonly InjectionToken<PostingParticipant>[];
  /** Who knows what was held for a call; `imports` provides it. */
  readonly heldAmounts: InjectionToken<HeldAmounts>;
  /** Who learns of reports that contradict each other. */
  readonly conflicts: InjectionToken<ConflictObserver>;
  readonly imports: NonNullable<ModuleMetadata['imports']>;
}

const SETTINGS = Symbol('tollgate.metering-settings');
const PARTICIPANTS = Symbol('tollgate.posting-participants');

const useCases = [
  useCase(GroupCommit, [EventInbox]),
  useCase(RecordEvents, [GroupCommit, TenantDirectory, SpendWakeUp, Clock, SETTINGS]),
  useCase(PostPendingSpend, [Database, PostingStore, SpendLedger, PriceBook, TenantDirectory, PARTICIPANTS, HeldAmounts, Clock, SETTINGS]),
  useCase(SweepPending, [Database]),
  useCase(MeasurePostingLag, [Database, Clock]),
  useCase(KeepPartitionsAhead, [Database]),
  useCase(ForgetOldEventKeys, [Database, Clock, SETTINGS]),
  useCase(RequeueQuarantined, [Database, SpendWakeUp]),
  useCase(PutSource, [Database, SourceDirectory, AuditLog, Clock]),
  useCase(ReplayDeadLetter, [DeadLetterStore, SourceDirectory, RecordEvents, Clock]),
];

@Module({})
export class MeteringModule {
  static register(options: MeteringOptions): DynamicModule {
    return {
      module: MeteringModule,
      imports: [LedgerModule, PricingModule, TenancyModule, ...options.imports],
      providers: [
        { provide: SETTINGS, useValue: options.settings },
        { provide: SpendWakeUp, useValue: options.wakeUp },
        { provide: PARTICIPANTS, inject: [...options.participants], useFactory: (...participants: PostingParticipant[]) => participants },
        { provide: HeldAmounts, useExisting: options.heldAmounts },
        { ...useCase(PostgresSourceDirectory, [Database, Clock]), provide: SourceDirectory },
        { ...useCase(PostgresDeadLetterStore, [Database]), provide: DeadLetterStore },
        { ...useCase(PostgresEventReader, [Database]), provide: EventReader },
        { provide: PostedSpendReader, useClass: PostgresPostedSpendReader },
        { provide: SpendHistory, useClass: PostgresSpendHistory },
        useCase(RecentEvents, []),
        { ...useCase(PostgresPostingStore, [RecentEvents]), provide: PostingStore },
        { ...useCase(PostgresInbox, [Database, RecentEvents, options.conflicts]), provide: EventInbox },
        ...useCases,
      ],
      exports: [SourceDirectory, DeadLetterStore, EventReader, PostedSpendReader, SpendHistory, ...useCases.map((provider) => provider.provide)],
    };
  }
}
