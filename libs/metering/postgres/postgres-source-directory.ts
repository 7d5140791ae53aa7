/** Sources: read on every ingest call, hence cached for a second; a change reaches every process within that time. */
import { SECOND_MS, type Clock } from '#libs/kernel/index.js';
import type { Database, Sql } from '#libs/platform/postgres/database.js';
import { SourceDirectory } from '../application/source-directory.js';
import type { AuthorizeHeaders, Gateway, OnNewTenant, Source } from '../domain/source.js';
import type { Attribution } from '../domain/spend-event.js';

interface SourceRow {
  source_id: string;
  gateway: Gateway;
  trust_tenant: boolean;
  trust_cost: boolean;
  attribution: Attribution;
  defaults: Source['defaults'];
  on_new_tenant: OnNewTenant;
  authorize_headers: AuthorizeHeaders;
  created_at: Date;
  updated_at: Date;
}

const CACHE_MS = SECOND_MS;
const MAX_CACHED = 10_000;

export class PostgresSourceDirectory extends SourceDirectory {
  private readonly cache = new Map<string, { source: Source | null; until: number }>();

  constructor(
    private readonly database: Database,
    private readonly clock: Clock,
  ) {
    super();
  }

  override async find(sourceId: string): Promise<Source | null> {
    const now = this.clock.now().getTime();
    const cached = this.cache.get(sourceId);
    if (cached && cached.until > now) return cached.source;
    const source = await this.read(this.database, sourceId);
    if (this.cache.size >= MAX_CACHED) this.cache.clear();
    this.cache.set(sourceId, { source, until: now + CACHE_MS });
    return source;
  }

  override async list(input: { limit: number; after: string | null }): Promise<Source[]> {
    const rows = await this.database.query<SourceRow>('SELECT * FROM metering.source WHERE source_id > $1 ORDER BY source_id LIMIT $2', [
      input.after ?? '',
      input.limit,
    ]);
    return rows.map(fromRow);
  }

  override async read(tx: Sql, sourceId: string): Promise<Source | null> {
    const [row] = await tx.query<SourceRow>('SELECT * FROM metering.source WHERE source_id = $1', [sourceId]);
    return row ? fromRow(row) : null;
  }

  override async write(tx: Sql, source: Source): Promise<void> {
    await tx.execute(
      `INSERT INTO metering.source (source_id, gateway, trust_tenant, trust_cost, attribution, defaults, on_new_tenant, created_at, updated_at, authorize_headers)
       VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
       ON CONFLICT (source_id) DO UPDATE SET trust_tenant = excluded.trust_tenant, trust_cost = excluded.trust_cost,
         attribution = excluded.attribution, defaults = excluded.defaults, on_new_tenant = excluded.on_new_tenant,
         authorize_headers = excluded.authorize_headers, updated_at = excluded.updated_at`,
      [
        source.sourceId,
        source.gateway,
        source.trustTenant,
        source.trustCost,
        JSON.stringify(source.attribution),
        JSON.stringify(source.defaults),
        source.onNewTenant,
        source.createdAt,
        source.updatedAt,
        JSON.stringify(source.authorizeHeaders),
      ],
    );
  }

  override forget(sourceId: string): void {
    this.cache.delete(sourceId);
  }
}

function fromRow(row: SourceRow): Source {
  return {
    sourceId: row.source_id,
    gateway: row.gateway,
    trustTenant: row.trust_tenant,
    trustCost: row.trust_cost,
    attribution: row.attribution,
    defaults: row.defaults,
    onNewTenant: row.on_new_tenant,
    authorizeHeaders: row.authorize_headers,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  };
}
