import { Controller, Get, HttpCode, Param, Post, Query, Req } from '@nestjs/common';
import { ApiAcceptedResponse, ApiBody, ApiOkResponse, ApiTags } from '@nestjs/swagger';
import type { FastifyRequest } from 'fastify';
import type { z } from 'zod';
import { DomainError, fromWireId, type Json } from '#libs/kernel/index.js';
import { ExplainSpend } from '#libs/ledger/index.js';
import { BUILT_IN_SOURCES, EventReader, MAX_EVENTS_PER_CALL, QUALITY_RANK, RecordEvents, SourceDirectory, type EventView } from '#libs/metering/index.js';
import type { Caller } from '#libs/tenancy/index.js';
import { CurrentCaller, RequireScope } from '../../http/access.js';
import { isNdjson } from '../../http/body-parsers.js';
import { decodeCursor, pageOf, toPage, type Page } from '../../http/schemas.js';
import { tenantFilter } from '../../http/tenant-access.js';
import { callerSource } from '../../http/caller-source.js';
import { readNdjson } from '../../http/ndjson.js';
import { bodySchema } from '../../http/openapi.js';
import { eventDetailWire, eventWire, listEventsQuery, recordedEvents, recordEventsBody, recordEventsQuery } from './events.schemas.js';
import { toEventDetailWire, toEventWire, toRecordedWire } from './events.wire.js';

@ApiTags('events')
@Controller('v1/events')
export class EventsController {
  constructor(
    private readonly recordEvents: RecordEvents,
    private readonly sources: SourceDirectory,
    private readonly events: EventReader,
    private readonly explainSpend: ExplainSpend,
  ) {}

  /** Records spend events: one, an array, or NDJSON, at most 5,000 or 8 MiB. Answered after the commit, one outcome per event. */
  @Post()
  @HttpCode(202)
  @RequireScope('ingest')
  @ApiBody({ schema: bodySchema(recordEventsBody) })
  @ApiAcceptedResponse({ standardSchema: recordedEvents })
  async record(
    @Req() request: FastifyRequest,
    @Query({ schema: recordEventsQuery }) query: z.infer<typeof recordEventsQuery>,
    @CurrentCaller() caller: Caller,
  ): Promise<z.infer<typeof recordedEvents>> {
    const items = readItems(request);
    const source = await callerSource(this.sources, caller, BUILT_IN_SOURCES.api, 'api');
    return toRecordedWire(await this.recordEvents.execute({ caller, source, items }), query.results === 'all');
  }

  /** Events, newest received first, each with what was booked for it. */
  @Get()
  @RequireScope('read')
  @ApiOkResponse({ standardSchema: pageOf(eventWire) })
  async list(
    @Query({ schema: listEventsQuery }) query: z.infer<typeof listEventsQuery>,
    @CurrentCaller() caller: Caller,
  ): Promise<Page<z.infer<typeof eventWire>>> {
    const position = decodeCursor(query.cursor, ([id]) => id !== undefined && fromWireId('evt', id) !== null);
    const rows = await this.events.list({
      filter: {
        tenantId: tenantFilter(caller, query.tenant_id),
        userId: query.user_id,
        feature: query.feature,
        environment: query.environment,
        assistantId: query.assistant_id,
        threadId: query.thread_id,
        apiKeyId: query.api_key_id,
        requestId: query.request_id,
        callId: query.call_id,
        externalId: query.event_id,
        provider: query.provider,
        model: query.model,
        sourceId: query.source,
        status: query.status,
        quality: query.quality === undefined ? undefined : QUALITY_RANK[query.quality],
        from: query.from,
        to: query.to,
      },
      limit: query.limit + 1,
      before: position?.[0] === undefined ? null : fromWireId('evt', position[0]),
    });
    return toPage(rows, query.limit, (view) => [`evt_${view.event.eventId}`], toEventWire);
  }

  /** One event down to its lines, its postings and the lots that paid for it. */
  @Get(':id')
  @RequireScope('read')
  @ApiOkResponse({ standardSchema: eventDetailWire })
  async get(@Param('id') id: string, @CurrentCaller() caller: Caller): Promise<z.infer<typeof eventDetailWire>> {
    const eventId = fromWireId('evt', id);
    const view = eventId === null ? null : await this.events.get({ eventId, tenantId: caller.tenantId });
    if (!view) throw new DomainError({ code: 'event.not_found', kind: 'not_found', publicMessage: 'there is no such event' });
    return toEventDetailWire(view, await this.slicesOf(view));
  }

  private async slicesOf(view: EventView): ReturnType<ExplainSpend['execute']> {
    const posting = view.postings[0];
    if (posting?.state !== 'posted' || posting.transactionId === null || posting.interval === null) return [];
    return await this.explainSpend.execute({ transactionId: posting.transactionId, ...posting.interval });
  }
}

function readItems(request: FastifyRequest): readonly Json[] {
  const body = request.body as Json | undefined;
  if (body === undefined)
    throw new DomainError({ code: 'request.empty', kind: 'invalid', publicMessage: 'the body must be an event, an array of events, or NDJSON' });
  const items = isNdjson(request) && typeof body === 'string' ? readNdjson(body) : Array.isArray(body) ? body : [body];
  if (items.length > MAX_EVENTS_PER_CALL) {
    throw new DomainError({
      code: 'request.too_many_events',
      kind: 'too_large',
      publicMessage: `at most ${MAX_EVENTS_PER_CALL} events a call; nothing was stored`,
    });
  }
  return items;
}
