import { Module } from '@nestjs/common';
import { useCase } from '#libs/platform/nest/use-case.js';
import { Database } from '#libs/platform/postgres/database.js';
import { MonthlySpendReport } from './application/monthly-spend.js';
import { PostgresMonthlySpendReport, SpendMonthRollup } from './postgres/spend-month.js';

@Module({
  providers: [useCase(SpendMonthRollup, []), { ...useCase(PostgresMonthlySpendReport, [Database]), provide: MonthlySpendReport }],
  exports: [SpendMonthRollup, MonthlySpendReport],
})
export class ReportingModule {}
