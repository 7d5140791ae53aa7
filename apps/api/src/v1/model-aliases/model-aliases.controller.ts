import { Body, Controller, Get, Param, Put, Query } from '@nestjs/common';
import { ApiOkResponse, ApiTags } from '@nestjs/swagger';
import { ListPriceDecisions, PutModelAlias, type StoredAlias } from '#libs/pricing/index.js';
import type { Caller } from '#libs/tenancy/index.js';
import { CurrentCaller, RequestId, RequireScope } from '../../http/access.js';
import { decodeCursor, toPage, type Page } from '../../http/schemas.js';
import {
  aliasName,
  listModelAliasesQuery,
  modelAliasPage,
  modelAliasWire,
  putModelAliasBody,
  type ListModelAliasesQuery,
  type ModelAliasWire,
  type PutModelAliasBody,
} from './model-aliases.schemas.js';

@ApiTags('prices')
@Controller('v1/model-aliases')
export class ModelAliasesController {
  constructor(
    private readonly putModelAlias: PutModelAlias,
    private readonly decisions: ListPriceDecisions,
  ) {}

  /** Says what a gateway's name for a model is. */
  @Put(':alias')
  @RequireScope('admin')
  @ApiOkResponse({ standardSchema: modelAliasWire })
  async put(
    @Param('alias', { schema: aliasName }) alias: string,
    @Body({ schema: putModelAliasBody }) body: PutModelAliasBody,
    @CurrentCaller() caller: Caller,
    @RequestId() requestId: string,
  ): Promise<ModelAliasWire> {
    const context = { actor: caller.actor, requestId };
    return toWire(await this.putModelAlias.execute({ alias, sourceId: body.source_id ?? null, provider: body.provider, model: body.model, context }));
  }

  /** Set and learned ones. */
  @Get()
  @RequireScope('read', { boundKeys: 'refuse' })
  @ApiOkResponse({ standardSchema: modelAliasPage })
  async list(@Query({ schema: listModelAliasesQuery }) query: ListModelAliasesQuery): Promise<Page<ModelAliasWire>> {
    const [alias, sourceId, provider, model] = decodeCursor(query.cursor, isPosition) ?? [];
    const after =
      alias === undefined || sourceId === undefined || provider === undefined || model === undefined ? null : ([alias, sourceId, provider, model] as const);
    const rows = await this.decisions.aliases({ after, limit: query.limit + 1 });
    return toPage(rows, query.limit, (row) => [row.alias, row.sourceId, row.provider, row.model], toWire);
  }
}

/** Text that PostgreSQL can compare: a cursor is the caller's text like any other. */
function isPosition(position: readonly string[]): boolean {
  return position.length === 4 && position.every((part) => !/[\0\p{Cs}]/u.test(part));
}

function toWire(alias: StoredAlias): ModelAliasWire {
  return {
    alias: alias.alias,
    source_id: alias.sourceId === '' ? null : alias.sourceId,
    provider: alias.provider,
    model: alias.model,
    learned: alias.learned,
    updated_at: alias.updatedAt.toISOString(),
  };
}
