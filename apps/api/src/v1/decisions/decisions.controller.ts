import { Controller, Get, Param, Query } from '@nestjs/common';
import { ApiOkResponse, ApiTags } from '@nestjs/swagger';
import type { z } from 'zod';
import { DomainError, fromWireId, toWireId } from '#libs/kernel/index.js';
import { DecisionLog, DecisionReader, type LoggedDecision } from '#libs/quota/index.js';
import type { Caller } from '#libs/tenancy/index.js';
import { CurrentCaller, RequireScope } from '../../http/access.js';
import { decodeCursor, pageOf, toPage, type Page } from '../../http/schemas.js';
import { maySeeTenant, tenantFilter } from '../../http/tenant-access.js';
import { listDecisionsQuery, loggedDecisionWire } from './decisions.schemas.js';

type Wire = z.infer<typeof loggedDecisionWire>;

@ApiTags('authorize')
@Controller('v1/decisions')
export class DecisionsController {
  constructor(
    private readonly decisions: DecisionReader,
    private readonly log: DecisionLog,
  ) {}

  /** Every block and every "would have", and a sample of plain allows, newest first; kept for 35 days. */
  @Get()
  @RequireScope('read')
  @ApiOkResponse({ standardSchema: pageOf(loggedDecisionWire) })
  async list(@Query({ schema: listDecisionsQuery }) query: z.infer<typeof listDecisionsQuery>, @CurrentCaller() caller: Caller): Promise<Page<Wire>> {
    const tenantId = tenantFilter(caller, query.tenant_id);
    const position = decodeCursor(query.cursor, ([id]) => id !== undefined && fromWireId('dec', id) !== null);
    // The log is written behind: this process's own decisions are there at once.
    await this.log.flush();
    const rows = await this.decisions.list({
      tenantId,
      callId: query.call_id,
      decision: query.decision,
      from: query.from,
      decisionId: undefined,
      limit: query.limit + 1,
      before: position?.[0] === undefined ? null : fromWireId('dec', position[0]),
    });
    return toPage(rows, query.limit, (row) => [`dec_${row.decisionId}`], toDecisionWire);
  }

  @Get(':id')
  @RequireScope('read')
  @ApiOkResponse({ standardSchema: loggedDecisionWire })
  async get(@Param('id') id: string, @CurrentCaller() caller: Caller): Promise<Wire> {
    const decisionId = fromWireId('dec', id);
    const any = { tenantId: undefined, callId: undefined, decision: undefined, from: undefined, before: null };
    const [row] = decisionId === null ? [] : await this.decisions.list({ ...any, decisionId, limit: 1 });
    if (!row || !maySeeTenant(caller, row.tenantId))
      throw new DomainError({ code: 'decision.not_found', kind: 'not_found', publicMessage: 'there is no such decision' });
    return toDecisionWire(row);
  }
}

function toDecisionWire(row: LoggedDecision): Wire {
  return {
    decision_id: toWireId('dec', row.decisionId),
    at: row.at.toISOString(),
    tenant_id: row.tenantId,
    call_id: row.callId,
    decision: row.decision,
    would: row.would,
    reason: row.reason,
    hold_id: row.holdId === null ? null : toWireId('hold', row.holdId),
    numbers: { ...row.numbers },
  };
}
