export { MonthlySpendReport, type MonthlySpend, type MonthlySpendPosition, type MonthlySpendQuery } from './application/monthly-spend.js';
export { SpendMonthRollup } from './postgres/spend-month.js';
export { ReportingModule } from './reporting.module.js';
