import { Body, Controller, Get, HttpCode, Post, Query } from '@nestjs/common';
import { ApiOkResponse, ApiTags } from '@nestjs/swagger';
import { Clock, DomainError } from '#libs/kernel/index.js';
import { ListPrices, PriceBook, type Rating } from '#libs/pricing/index.js';
import { TenantDirectory, UNKNOWN_TENANT_ID, type Caller } from '#libs/tenancy/index.js';
import { CurrentCaller, RequireScope } from '../../http/access.js';
import { decodeCursor, toPage, type Page } from '../../http/schemas.js';
import { tenantFilter, tenantNotFound } from '../../http/tenant-access.js';
import {
  listPricesQuery,
  pricesPage,
  quoteBody,
  quoteWire,
  type ListPricesQuery,
  type ModelPricesWire,
  type QuoteBody,
  type QuoteWire,
} from './prices.schemas.js';
import { toModelPricesWire, toQuoteWire } from './prices.wire.js';

@ApiTags('prices')
@Controller('v1/prices')
export class PricesController {
  constructor(
    private readonly book: PriceBook,
    private readonly listPrices: ListPrices,
    private readonly directory: TenantDirectory,
    private readonly clock: Clock,
  ) {}

  /** What a call would cost and be charged, by the function that books it. */
  @Post('quote')
  @HttpCode(200)
  @RequireScope('read')
  @ApiOkResponse({ standardSchema: quoteWire })
  async quote(@Body({ schema: quoteBody }) body: QuoteBody, @CurrentCaller() caller: Caller): Promise<QuoteWire> {
    const tenantId = tenantFilter(caller, body.tenant_id);
    const tenant = tenantId === undefined ? null : await this.directory.find(tenantId);
    if (tenantId !== undefined && tenant === null) throw tenantNotFound();
    const { meters, ...pools } = body.usage;
    const rating = this.book.rate({
      provider: body.provider ?? null,
      model: body.model,
      requestedModel: null,
      sourceId: '',
      usage: { ...withoutAbsent(pools), ...(meters === undefined ? {} : { meters }) },
      at: body.at ?? this.clock.now(),
      rateCardId: tenant?.rateCardId ?? null,
      free: tenantId === UNKNOWN_TENANT_ID,
      reportedCostNano: null,
    });
    if (!rating.ok) throw unpriced(rating);
    return toQuoteWire(rating);
  }

  /** What providers charge, the operator's overrides included. A key bound to a tenant sees its own prices at /v1/models. */
  @Get()
  @RequireScope('read', { boundKeys: 'refuse' })
  @ApiOkResponse({ standardSchema: pricesPage })
  list(@Query({ schema: listPricesQuery }) query: ListPricesQuery): Page<ModelPricesWire> {
    const [provider, model] = decodeCursor(query.cursor, (position) => position.length === 2) ?? [];
    const rows = this.listPrices.execute({
      provider: query.provider ?? null,
      model: query.model ?? null,
      at: query.at ?? null,
      rateCardId: null,
      after: provider === undefined || model === undefined ? null : [provider, model],
      limit: query.limit + 1,
    });
    return toPage(rows, query.limit, (row) => [row.provider, row.model], toModelPricesWire);
  }
}

function withoutAbsent(pools: Omit<QuoteBody['usage'], 'meters'>): Record<string, number> {
  return Object.fromEntries(Object.entries(pools).filter((entry): entry is [string, number] => entry[1] !== undefined));
}

function unpriced(rating: Extract<Rating, { ok: false }>): DomainError {
  const publicMessage =
    rating.reason === 'model_unpriced'
      ? 'nothing prices this model: set an alias or a price override'
      : `the model has no price for ${rating.component ?? 'a component'}: set a price override`;
  return new DomainError({ code: `price.${rating.reason}`, kind: 'not_found', publicMessage });
}
