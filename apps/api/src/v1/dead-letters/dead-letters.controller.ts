import { Controller, Get, HttpCode, Param, Post, Query } from '@nestjs/common';
import { ApiOkResponse, ApiTags } from '@nestjs/swagger';
import type { z } from 'zod';
import { DomainError, fromWireId, toWireId } from '#libs/kernel/index.js';
import { DeadLetterStore, ReplayDeadLetter, type DeadLetterRow } from '#libs/metering/index.js';
import type { Caller } from '#libs/tenancy/index.js';
import { CurrentCaller, RequireScope } from '../../http/access.js';
import { decodeCursor, pageOf, toPage, type Page } from '../../http/schemas.js';
import { tenantFilter } from '../../http/tenant-access.js';
import { deadLetterWire, listDeadLettersQuery, replayedWire } from './dead-letters.schemas.js';

@ApiTags('dead letters')
@Controller('v1/dead-letters')
export class DeadLettersController {
  constructor(
    private readonly store: DeadLetterStore,
    private readonly replayDeadLetter: ReplayDeadLetter,
  ) {}

  /** What could not be accepted, newest first, with the field and the rule. */
  @Get()
  @RequireScope('read')
  @ApiOkResponse({ standardSchema: pageOf(deadLetterWire) })
  async list(
    @Query({ schema: listDeadLettersQuery }) query: z.infer<typeof listDeadLettersQuery>,
    @CurrentCaller() caller: Caller,
  ): Promise<Page<z.infer<typeof deadLetterWire>>> {
    const position = decodeCursor(query.cursor, ([id]) => id !== undefined && fromWireId('dl', id) !== null);
    const rows = await this.store.list({
      tenantId: tenantFilter(caller, query.tenant_id) ?? null,
      sourceId: query.source,
      code: query.code,
      replayed: query.replayed,
      limit: query.limit + 1,
      before: position?.[0] === undefined ? null : fromWireId('dl', position[0]),
    });
    return toPage(rows, query.limit, (row) => [toWireId('dl', row.deadLetterId)], toWire);
  }

  /** Sends one through the inbox again; repeating it changes nothing more. */
  @Post(':id/replay')
  @HttpCode(200)
  @RequireScope('admin', { boundKeys: 'checked' })
  @ApiOkResponse({ standardSchema: replayedWire })
  async replay(@Param('id') id: string, @CurrentCaller() caller: Caller): Promise<z.infer<typeof replayedWire>> {
    const deadLetterId = fromWireId('dl', id);
    if (deadLetterId === null) throw new DomainError({ code: 'dead_letter.not_found', kind: 'not_found', publicMessage: 'no such dead letter' });
    const { deadLetter, result } = await this.replayDeadLetter.execute({ deadLetterId, tenantId: caller.tenantId });
    return {
      id,
      outcome: result.outcome,
      event: result.eventId === null ? null : toWireId('evt', result.eventId),
      code: result.code ?? null,
      detail: result.detail ?? null,
      attempts: deadLetter.attempts,
    };
  }
}

function toWire(row: DeadLetterRow): z.infer<typeof deadLetterWire> {
  return {
    id: toWireId('dl', row.deadLetterId),
    received_at: row.receivedAt.toISOString(),
    source: row.sourceId,
    tenant_id: row.tenantId,
    event_id: row.externalId,
    code: row.code,
    path: row.path,
    detail: row.detail,
    item: JSON.parse(row.item) as unknown,
    kept_event: row.keptEventId === null ? null : toWireId('evt', row.keptEventId),
    attempts: row.attempts,
    replayed_at: row.replayedAt?.toISOString() ?? null,
  };
}
