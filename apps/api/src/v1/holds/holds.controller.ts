import { Body, Controller, Get, HttpCode, Param, Post, Query } from '@nestjs/common';
import { ApiOkResponse, ApiTags } from '@nestjs/swagger';
import type { z } from 'zod';
import { DomainError, fromWireId } from '#libs/kernel/index.js';
import type { Usage } from '#libs/pricing/index.js';
import { ExtendHold, HoldJournal, HoldReader, ReleaseHold, SettleHold } from '#libs/quota/index.js';
import type { Caller } from '#libs/tenancy/index.js';
import { CurrentCaller, RequireScope } from '../../http/access.js';
import { IdempotencyKey } from '../../http/idempotency-key.js';
import { decodeCursor, pageOf, toPage, type Page } from '../../http/schemas.js';
import { tenantFilter } from '../../http/tenant-access.js';
import { extendBody, holdWire, listHoldsQuery, releaseBody, settleBody, settledWire } from './holds.schemas.js';
import { toHoldWire, toSettledWire } from './holds.wire.js';

@ApiTags('authorize')
@Controller('v1/holds')
export class HoldsController {
  constructor(
    private readonly holds: HoldReader,
    private readonly journal: HoldJournal,
    private readonly settleHold: SettleHold,
    private readonly releaseHold: ReleaseHold,
    private readonly extendHold: ExtendHold,
  ) {}

  /** Holds, newest first. One that ended within a tenth of a second of its beginning is not listed. */
  @Get()
  @RequireScope('read')
  @ApiOkResponse({ standardSchema: pageOf(holdWire) })
  async list(
    @Query({ schema: listHoldsQuery }) query: z.infer<typeof listHoldsQuery>,
    @CurrentCaller() caller: Caller,
  ): Promise<Page<z.infer<typeof holdWire>>> {
    const tenantId = tenantFilter(caller, query.tenant_id);
    const position = decodeCursor(query.cursor, ([id]) => id !== undefined && fromWireId('hold', id) !== null);
    // Holds are written behind: whoever lists right after asking wants to see his own. A process that may not write lists what is there.
    await this.journal.flush().catch(() => undefined);
    const before = position?.[0] === undefined ? null : fromWireId('hold', position[0]);
    const rows = await this.holds.list({ tenantId, state: query.state, limit: query.limit + 1, before });
    return toPage(rows, query.limit, (hold) => [`hold_${hold.holdId}`], toHoldWire);
  }

  /** Says what the call cost. Recorded as a spend event: the gateway's later report of the same call is a duplicate or a correction. */
  @Post(':id/settle')
  @HttpCode(200)
  @RequireScope('authorize')
  @ApiOkResponse({ standardSchema: settledWire })
  async settle(
    @Param('id') id: string,
    @Body({ schema: settleBody }) body: z.infer<typeof settleBody>,
    @CurrentCaller() caller: Caller,
    @IdempotencyKey() idempotencyKey: string | null,
  ): Promise<z.infer<typeof settledWire>> {
    const figures = {
      costNano: body.cost_usd ?? null,
      provider: body.provider ?? null,
      model: body.model ?? null,
      usage: (body.usage ?? null) as Usage | null,
      final: body.final,
    };
    return toSettledWire(await this.settleHold.execute({ holdId: holdIdOf(id), tenantId: caller.tenantId, figures, idempotencyKey }));
  }

  /** Gives the money back: the call was not made, or cost nothing. */
  @Post(':id/release')
  @HttpCode(200)
  @RequireScope('authorize')
  @ApiOkResponse({ standardSchema: holdWire })
  async release(
    @Param('id') id: string,
    @Body({ schema: releaseBody }) _body: z.infer<typeof releaseBody>,
    @CurrentCaller() caller: Caller,
  ): Promise<z.infer<typeof holdWire>> {
    return toHoldWire(await this.releaseHold.execute({ holdId: holdIdOf(id), tenantId: caller.tenantId }));
  }

  /** Gives a running call more time, more output, or both. */
  @Post(':id/extend')
  @HttpCode(200)
  @RequireScope('authorize')
  @ApiOkResponse({ standardSchema: holdWire })
  async extend(
    @Param('id') id: string,
    @Body({ schema: extendBody }) body: z.infer<typeof extendBody>,
    @CurrentCaller() caller: Caller,
  ): Promise<z.infer<typeof holdWire>> {
    const change = { outputTokens: body.output_tokens ?? null, ttlMs: body.ttl_ms ?? null };
    return toHoldWire(await this.extendHold.execute({ holdId: holdIdOf(id), tenantId: caller.tenantId, ...change }));
  }
}

function holdIdOf(id: string): string {
  const holdId = fromWireId('hold', id);
  if (holdId === null) throw new DomainError({ code: 'hold.not_found', kind: 'not_found', publicMessage: 'there is no such hold' });
  return holdId;
}
