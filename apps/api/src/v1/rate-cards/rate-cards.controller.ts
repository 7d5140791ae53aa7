import { Body, Controller, Get, Param, Put, Query } from '@nestjs/common';
import { ApiOkResponse, ApiTags } from '@nestjs/swagger';
import { DomainError, isExternalId } from '#libs/kernel/index.js';
import { ListPriceDecisions, PutRateCard } from '#libs/pricing/index.js';
import type { Caller } from '#libs/tenancy/index.js';
import { CurrentCaller, RequestId, RequireScope } from '../../http/access.js';
import { decodeCursor, toPage, type Page } from '../../http/schemas.js';
import {
  listRateCardsQuery,
  putRateCardBody,
  rateCardHistory,
  rateCardId,
  rateCardPage,
  rateCardWire,
  type ListRateCardsQuery,
  type PutRateCardBody,
  type RateCardHistory,
  type RateCardWire,
} from './rate-cards.schemas.js';
import { toRateCardWire } from './rate-cards.wire.js';

@ApiTags('prices')
@Controller('v1/rate-cards')
export class RateCardsController {
  constructor(
    private readonly putRateCard: PutRateCard,
    private readonly decisions: ListPriceDecisions,
  ) {}

  /** Writes the next revision, which counts for what is consumed from now on. */
  @Put(':rate_card_id')
  @RequireScope('admin')
  @ApiOkResponse({ standardSchema: rateCardWire })
  async put(
    @Param('rate_card_id', { schema: rateCardId }) id: string,
    @Body({ schema: putRateCardBody }) body: PutRateCardBody,
    @CurrentCaller() caller: Caller,
    @RequestId() requestId: string,
  ): Promise<RateCardWire> {
    const card = await this.putRateCard.execute({
      rateCardId: id,
      markupPercent: body.markup_percent,
      prices: (body.prices ?? []).map((entry) => ({ provider: entry.provider ?? null, model: entry.model ?? null, prices: entry.prices })),
      reason: body.reason ?? null,
      context: { actor: caller.actor, requestId },
    });
    return toRateCardWire(card);
  }

  @Get(':rate_card_id')
  @RequireScope('read', { boundKeys: 'refuse' })
  @ApiOkResponse({ standardSchema: rateCardHistory })
  async get(@Param('rate_card_id', { schema: rateCardId }) id: string): Promise<RateCardHistory> {
    const revisions = await this.decisions.rateCardHistory(id);
    const latest = revisions.at(-1);
    if (latest === undefined) throw new DomainError({ code: 'rate_card.not_found', kind: 'not_found', publicMessage: 'there is no such rate card' });
    return { ...toRateCardWire(latest), revisions: revisions.map(toRateCardWire) };
  }

  @Get()
  @RequireScope('read', { boundKeys: 'refuse' })
  @ApiOkResponse({ standardSchema: rateCardPage })
  async list(@Query({ schema: listRateCardsQuery }) query: ListRateCardsQuery): Promise<Page<RateCardWire>> {
    const after = decodeCursor(query.cursor, ([id, ...rest]) => id !== undefined && rest.length === 0 && isExternalId(id));
    return toPage(
      await this.decisions.rateCards({ after: after?.[0] ?? null, limit: query.limit + 1 }),
      query.limit,
      (card) => [card.rateCardId],
      toRateCardWire,
    );
  }
}
