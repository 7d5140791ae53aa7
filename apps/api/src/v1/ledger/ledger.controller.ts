import { Controller, Get, Param, Query } from '@nestjs/common';
import { ApiOkResponse, ApiTags } from '@nestjs/swagger';
import type { z } from 'zod';
import { LedgerReader } from '#libs/ledger/index.js';
import { TenantDirectory } from '#libs/tenancy/index.js';
import { RequireScope } from '../../http/access.js';
import { decodeCursor, externalId, pageOf, toPage, type Page } from '../../http/schemas.js';
import { tenantNotFound } from '../../http/tenant-access.js';
import { entryWire, ledgerCheckWire, listEntriesQuery } from './ledger.schemas.js';
import { toCheckWire, toEntryWire } from './ledger.wire.js';

// Fits bigint in PostgreSQL whatever the digits.
const SEQ = /^[0-9]{1,18}$/;

@ApiTags('money')
@Controller('v1')
export class LedgerController {
  constructor(
    private readonly tenants: TenantDirectory,
    private readonly reader: LedgerReader,
  ) {}

  /** A tenant's transactions in booking order, booked in [from, to), each with its transfers between account codes. */
  @Get('tenants/:tenant_id/ledger')
  @RequireScope('read')
  @ApiOkResponse({ standardSchema: pageOf(entryWire) })
  async entries(
    @Param('tenant_id', { schema: externalId() }) tenantId: string,
    @Query({ schema: listEntriesQuery }) query: z.infer<typeof listEntriesQuery>,
  ): Promise<Page<z.infer<typeof entryWire>>> {
    const position = decodeCursor(query.cursor, ([seq]) => seq !== undefined && SEQ.test(seq));
    if (!(await this.tenants.find(tenantId))) throw tenantNotFound();
    const rows = await this.reader.entries({
      tenantId,
      from: query.from ?? null,
      to: query.to ?? null,
      afterSeq: position?.[0] === undefined ? null : BigInt(position[0]),
      limit: query.limit + 1,
    });
    return toPage(rows, query.limit, (entry) => [String(entry.tenantSeq)], toEntryWire);
  }

  /** Recomputes every balance of every tenant from the transfers and names what disagrees. Reads the whole ledger. */
  @Get('ledger/check')
  @RequireScope('read', { boundKeys: 'refuse' })
  @ApiOkResponse({ standardSchema: ledgerCheckWire })
  async check(): Promise<z.infer<typeof ledgerCheckWire>> {
    return toCheckWire(await this.reader.check());
  }
}
