import { Controller, HttpCode, Param, Post, Query, Req } from '@nestjs/common';
import { ApiAcceptedResponse, ApiBody, ApiTags } from '@nestjs/swagger';
import type { FastifyRequest } from 'fastify';
import type { z } from 'zod';
import { DomainError } from '#libs/kernel/index.js';
import { BUILT_IN_SOURCES, MAX_EVENTS_PER_CALL, RecordEvents, SourceDirectory, splitLiteLlmBody } from '#libs/metering/index.js';
import type { Caller } from '#libs/tenancy/index.js';
import { CurrentCaller, RequireScope } from '../../http/access.js';
import { callerSource } from '../../http/caller-source.js';
import { externalId } from '../../http/schemas.js';
import { recordedEvents, recordEventsQuery } from '../events/events.schemas.js';
import { toRecordedWire } from '../events/events.wire.js';

type Query = z.infer<typeof recordEventsQuery>;
type Answer = z.infer<typeof recordedEvents>;

@ApiTags('webhooks')
@Controller('v1/webhooks')
export class WebhooksController {
  constructor(
    private readonly recordEvents: RecordEvents,
    private readonly sources: SourceDirectory,
  ) {}

  /** LiteLLM's generic_api callback, in any of its formats: json_array, ndjson, single. The source is `litellm`. */
  @Post('litellm')
  @HttpCode(202)
  @RequireScope('ingest', { textBody: true })
  @ApiBody({ schema: { type: 'array', items: { type: 'object', description: 'StandardLoggingPayload' } } })
  @ApiAcceptedResponse({ standardSchema: recordedEvents })
  async litellm(@Req() request: FastifyRequest, @Query({ schema: recordEventsQuery }) query: Query, @CurrentCaller() caller: Caller): Promise<Answer> {
    return await this.record(request, query, caller, BUILT_IN_SOURCES.litellm);
  }

  /** The same for one of several LiteLLM proxies: event ids are unique per source. */
  @Post('litellm/:source_id')
  @HttpCode(202)
  @RequireScope('ingest', { textBody: true })
  @ApiBody({ schema: { type: 'array', items: { type: 'object', description: 'StandardLoggingPayload' } } })
  @ApiAcceptedResponse({ standardSchema: recordedEvents })
  async litellmSource(
    @Param('source_id', { schema: externalId() }) sourceId: string,
    @Req() request: FastifyRequest,
    @Query({ schema: recordEventsQuery }) query: Query,
    @CurrentCaller() caller: Caller,
  ): Promise<Answer> {
    return await this.record(request, query, caller, sourceId);
  }

  private async record(request: FastifyRequest, query: Query, caller: Caller, sourceId: string): Promise<Answer> {
    const split = splitLiteLlmBody(typeof request.body === 'string' ? request.body : '');
    if (!split.ok) throw new DomainError({ code: split.code, kind: 'invalid', publicMessage: split.message });
    if (split.items.length > MAX_EVENTS_PER_CALL) {
      throw new DomainError({
        code: 'request.too_many_events',
        kind: 'too_large',
        publicMessage: `at most ${MAX_EVENTS_PER_CALL} events a call; nothing was stored`,
      });
    }
    const source = await callerSource(this.sources, caller, sourceId, 'litellm');
    return toRecordedWire(await this.recordEvents.execute({ caller, source, items: split.items }), query.results === 'all');
  }
}
