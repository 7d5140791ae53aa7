import { Body, Controller, Get, Param, Put, Query } from '@nestjs/common';
import { ApiOkResponse, ApiTags } from '@nestjs/swagger';
import type { z } from 'zod';
import { DomainError, isExternalId } from '#libs/kernel/index.js';
import { PutSource, SourceDirectory } from '#libs/metering/index.js';
import type { Caller } from '#libs/tenancy/index.js';
import { CurrentCaller, RequestId, RequireScope } from '../../http/access.js';
import { decodeCursor, externalId, pageOf, toPage, type Page } from '../../http/schemas.js';
import { listSourcesQuery, putSourceBody, sourceWire } from './sources.schemas.js';
import { toWire } from './sources.wire.js';

@ApiTags('sources')
@Controller('v1/sources')
export class SourcesController {
  constructor(
    private readonly sources: SourceDirectory,
    private readonly putSource: PutSource,
  ) {}

  /** Makes or changes a sender of events; a field left out keeps its value. */
  @Put(':source_id')
  @RequireScope('admin')
  @ApiOkResponse({ standardSchema: sourceWire })
  async put(
    @Param('source_id', { schema: externalId() }) sourceId: string,
    @Body({ schema: putSourceBody }) body: z.infer<typeof putSourceBody>,
    @CurrentCaller() caller: Caller,
    @RequestId() requestId: string,
  ): Promise<z.infer<typeof sourceWire>> {
    const defaults = body.defaults === undefined ? undefined : body.defaults.environment === undefined ? {} : { environment: body.defaults.environment };
    const source = await this.putSource.execute(
      {
        sourceId,
        gateway: body.gateway,
        trust: body.trust,
        attribution: body.attribution,
        defaults,
        onNewTenant: body.on_new_tenant,
        authorizeHeaders: body.authorize_headers,
      },
      { actor: caller.actor, requestId },
    );
    return toWire(source);
  }

  @Get(':source_id')
  @RequireScope('admin')
  @ApiOkResponse({ standardSchema: sourceWire })
  async get(@Param('source_id', { schema: externalId() }) sourceId: string): Promise<z.infer<typeof sourceWire>> {
    const source = await this.sources.find(sourceId);
    if (!source) throw new DomainError({ code: 'source.not_found', kind: 'not_found', publicMessage: 'there is no such source' });
    return toWire(source);
  }

  @Get()
  @RequireScope('admin')
  @ApiOkResponse({ standardSchema: pageOf(sourceWire) })
  async list(@Query({ schema: listSourcesQuery }) query: z.infer<typeof listSourcesQuery>): Promise<Page<z.infer<typeof sourceWire>>> {
    const position = decodeCursor(query.cursor, ([sourceId]) => sourceId !== undefined && isExternalId(sourceId));
    const rows = await this.sources.list({ limit: query.limit + 1, after: position?.[0] ?? null });
    return toPage(rows, query.limit, (source) => [source.sourceId], toWire);
  }
}
