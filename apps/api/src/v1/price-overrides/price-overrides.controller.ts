import { Body, Controller, Get, Param, Put, Query } from '@nestjs/common';
import { ApiOkResponse, ApiTags } from '@nestjs/swagger';
import { DomainError, isExternalId } from '#libs/kernel/index.js';
import { ListPriceDecisions, PutPriceOverride } from '#libs/pricing/index.js';
import type { Caller } from '#libs/tenancy/index.js';
import { CurrentCaller, RequestId, RequireScope } from '../../http/access.js';
import { decodeCursor, toPage, type Page } from '../../http/schemas.js';
import {
  listPriceOverridesQuery,
  overrideId,
  priceOverrideHistory,
  priceOverridePage,
  priceOverrideWire,
  putPriceOverrideBody,
  type ListPriceOverridesQuery,
  type PriceOverrideHistory,
  type PriceOverrideWire,
  type PutPriceOverrideBody,
} from './price-overrides.schemas.js';
import { toPriceOverrideWire } from './price-overrides.wire.js';

@ApiTags('prices')
@Controller('v1/price-overrides')
export class PriceOverridesController {
  constructor(
    private readonly putPriceOverride: PutPriceOverride,
    private readonly decisions: ListPriceDecisions,
  ) {}

  /** Writes the next revision; earlier ones keep explaining what they priced. Events that waited for this price are rated again. */
  @Put(':override_id')
  @RequireScope('admin')
  @ApiOkResponse({ standardSchema: priceOverrideWire })
  async put(
    @Param('override_id', { schema: overrideId }) id: string,
    @Body({ schema: putPriceOverrideBody }) body: PutPriceOverrideBody,
    @CurrentCaller() caller: Caller,
    @RequestId() requestId: string,
  ): Promise<PriceOverrideWire> {
    const override = await this.putPriceOverride.execute({
      overrideId: id,
      provider: body.provider,
      model: body.model,
      prices: body.prices,
      effectiveFrom: body.effective_from ?? null,
      effectiveTo: body.effective_to ?? null,
      reason: body.reason ?? null,
      acceptJump: body.accept_jump ?? false,
      context: { actor: caller.actor, requestId },
    });
    return toPriceOverrideWire(override);
  }

  @Get(':override_id')
  @RequireScope('read', { boundKeys: 'refuse' })
  @ApiOkResponse({ standardSchema: priceOverrideHistory })
  async get(@Param('override_id', { schema: overrideId }) id: string): Promise<PriceOverrideHistory> {
    const revisions = await this.decisions.overrideHistory(id);
    const latest = revisions.at(-1);
    if (latest === undefined) throw new DomainError({ code: 'price_override.not_found', kind: 'not_found', publicMessage: 'there is no such price override' });
    return { ...toPriceOverrideWire(latest), revisions: revisions.map(toPriceOverrideWire) };
  }

  @Get()
  @RequireScope('read', { boundKeys: 'refuse' })
  @ApiOkResponse({ standardSchema: priceOverridePage })
  async list(@Query({ schema: listPriceOverridesQuery }) query: ListPriceOverridesQuery): Promise<Page<PriceOverrideWire>> {
    const after = decodeCursor(query.cursor, ([id, ...rest]) => id !== undefined && rest.length === 0 && isExternalId(id));
    return toPage(
      await this.decisions.overrides({ after: after?.[0] ?? null, limit: query.limit + 1 }),
      query.limit,
      (override) => [override.overrideId],
      toPriceOverrideWire,
    );
  }
}
