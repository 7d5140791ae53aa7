import { Controller, Get, Query, type StreamableFile } from '@nestjs/common';
import { ApiOkResponse, ApiTags } from '@nestjs/swagger';
import type { z } from 'zod';
import { Clock, isExternalId, utcMonthLabel } from '#libs/kernel/index.js';
import { MonthlySpendReport, type MonthlySpend, type MonthlySpendPosition } from '#libs/reporting/index.js';
import type { Caller } from '#libs/tenancy/index.js';
import { CurrentCaller, RequireScope } from '../../http/access.js';
import { csvLine, csvResponse } from '../../http/csv.js';
import { decodeCursor, pageOf, toPage, type Page } from '../../http/schemas.js';
import { tenantFilter } from '../../http/tenant-access.js';
import { monthlySpendQuery, monthlySpendWire } from './reports.schemas.js';
import { toWire } from './reports.wire.js';

const CSV_PAGE = 500;
type Row = z.infer<typeof monthlySpendWire>;

@ApiTags('reports')
@Controller('v1/reports')
export class ReportsController {
  constructor(
    private readonly monthlySpend: MonthlySpendReport,
    private readonly clock: Clock,
  ) {}

  /** Report A: who spent what in a UTC month, per provider, model and environment, dearest first. CSV gives all rows. */
  @Get('monthly-spend')
  @RequireScope('read')
  @ApiOkResponse({ standardSchema: pageOf(monthlySpendWire) })
  async monthly(
    @Query({ schema: monthlySpendQuery }) query: z.infer<typeof monthlySpendQuery>,
    @CurrentCaller() caller: Caller,
  ): Promise<Page<Row> | StreamableFile> {
    const month = query.month ?? utcMonthLabel(this.clock.now());
    const filter = { month, tenantId: tenantFilter(caller, query.tenant_id), environment: query.environment };
    if (query.format === 'csv') return csvResponse(`monthly-spend-${month}.csv`, this.csvLines(filter));
    const rows = await this.monthlySpend.list({ ...filter, limit: query.limit + 1, after: readPosition(query.cursor) });
    return toPage(rows, query.limit, positionOf, toWire);
  }

  private async *csvLines(filter: { month: string; tenantId: string | undefined; environment: string | undefined }): AsyncGenerator<string> {
    const columns = Object.keys(monthlySpendWire.shape) as (keyof Row)[];
    yield csvLine(columns);
    let after: MonthlySpendPosition | null = null;
    for (;;) {
      const rows: MonthlySpend[] = await this.monthlySpend.list({ ...filter, limit: CSV_PAGE, after });
      for (const row of rows.map(toWire)) yield csvLine(columns.map((column) => row[column]));
      const last = rows.at(-1);
      if (!last || rows.length < CSV_PAGE) return;
      after = last;
    }
  }
}

function positionOf(row: MonthlySpend): string[] {
  return [row.chargeNano.toString(), row.tenantId, row.provider, row.model, row.environment];
}

function readPosition(cursor: string | undefined): MonthlySpendPosition | null {
  const position = decodeCursor(
    cursor,
    ([charge, ...ids]) => charge !== undefined && /^-?[0-9]{1,18}$/.test(charge) && ids.length === 4 && ids.every(isExternalId),
  );
  if (position === undefined) return null;
  const [charge = '0', tenantId = '', provider = '', model = '', environment = ''] = position;
  return { chargeNano: BigInt(charge), tenantId, provider, model, environment };
}
