import { Module } from '@nestjs/common';
import { Clock } from '#libs/kernel/index.js';
import { AuditLog } from '#libs/platform/audit/audit-log.js';
import { useCase } from '#libs/platform/nest/use-case.js';
import { Database } from '#libs/platform/postgres/database.js';
import { AdjustBalance } from './application/adjust-balance.js';
import { ExpireLots } from './application/expire-lots.js';
import { ExplainSpend } from './application/explain-spend.js';
import { FindCredit } from './application/find-credit.js';
import { GrantCredit } from './application/grant-credit.js';
import { LedgerReader, LedgerStore } from './application/ports.js';
import { ReadBalance } from './application/read-balance.js';
import { ReadRecentCredits } from './application/read-recent-credits.js';
import { ReadWallets } from './application/read-wallets.js';
import { SpendLedger } from './application/spend-ledger.js';
import { VoidCredit } from './application/void-credit.js';
import { PostgresLedgerReader } from './postgres/postgres-ledger-reader.js';
import { PostgresLedgerStore } from './postgres/postgres-ledger-store.js';

const useCases = [
  useCase(SpendLedger, [LedgerStore]),
  useCase(GrantCredit, [Database, LedgerStore, AuditLog]),
  useCase(VoidCredit, [Database, LedgerStore, AuditLog]),
  useCase(AdjustBalance, [Database, LedgerStore, AuditLog]),
  useCase(ExpireLots, [Database, LedgerStore, Clock]),
  useCase(ReadBalance, [LedgerReader, Clock]),
  useCase(ReadWallets, [LedgerStore]),
  useCase(ReadRecentCredits, [LedgerStore]),
  useCase(ExplainSpend, [Database, LedgerStore]),
  useCase(FindCredit, [Database, LedgerStore]),
];

@Module({
  providers: [
    { provide: LedgerStore, useClass: PostgresLedgerStore },
    { provide: LedgerReader, inject: [Database], useFactory: (database: Database) => new PostgresLedgerReader(database) },
    ...useCases,
  ],
  exports: [LedgerReader, ...useCases.map((provider) => provider.provide)],
})
export class LedgerModule {}
