/**
 * reporting.spend_month, fed inside the posting transaction: the report and the ledger can never disagree, and a report reads as many
 * rows as it shows. Rows are written in key order, so that two posters never wait for each other in a circle.
 */
import type { Nano } from '#libs/kernel/index.js';
import { utcMonthLabel } from '#libs/kernel/index.js';
import { PostingParticipant, type SpendMovement } from '#libs/metering/index.js';
import { plainArray, textArray } from '#libs/platform/postgres/array-literal.js';
import type { Database, Sql } from '#libs/platform/postgres/database.js';
import { MonthlySpendReport, type MonthlySpend, type MonthlySpendQuery } from '../application/monthly-spend.js';
import { addMovement, type MonthTotals } from '../domain/month-totals.js';

const UPSERT = {
  name: 'reporting.add-spend-month',
  text: `INSERT INTO reporting.spend_month AS s
           (tenant_id, month, provider, model, environment, requests, input_tokens, output_tokens, cache_creation_tokens, cache_read_tokens, cost_nano, charge_nano)
         SELECT * FROM unnest($1::text[], $2::date[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[])
         ON CONFLICT (tenant_id, month, provider, model, environment, revision) DO UPDATE SET
           requests = s.requests + excluded.requests, input_tokens = s.input_tokens + excluded.input_tokens, output_tokens = s.output_tokens + excluded.output_tokens,
           cache_creation_tokens = s.cache_creation_tokens + excluded.cache_creation_tokens, cache_read_tokens = s.cache_read_tokens + excluded.cache_read_tokens,
           cost_nano = s.cost_nano + excluded.cost_nano, charge_nano = s.charge_nano + excluded.charge_nano`,
};

/** Adds what was booked, and takes off what was reversed, in the poster's transaction. */
export class SpendMonthRollup extends PostingParticipant {
  override async onPosted(tx: Sql, movements: readonly SpendMovement[]): Promise<void> {
    const totals = new Map<string, MonthTotals>();
    for (const movement of movements) addMovement(totals, movement, utcMonthLabel(movement.occurredAt));
    const rows = [...totals.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, row]) => row);
    if (rows.length === 0) return;
    await tx.execute(UPSERT, [
      textArray(rows.map((row) => row.tenantId)),
      plainArray(rows.map((row) => `${row.month}-01`)),
      textArray(rows.map((row) => row.provider)),
      textArray(rows.map((row) => row.model)),
      textArray(rows.map((row) => row.environment)),
      plainArray(rows.map((row) => row.requests)),
      plainArray(rows.map((row) => row.inputTokens)),
      plainArray(rows.map((row) => row.outputTokens)),
      plainArray(rows.map((row) => row.cacheCreationTokens)),
      plainArray(rows.map((row) => row.cacheReadTokens)),
      plainArray(rows.map((row) => row.costNano)),
      plainArray(rows.map((row) => row.chargeNano)),
    ]);
  }
}

interface Row {
  month: string;
  tenant_id: string;
  provider: string;
  model: string;
  environment: string;
  requests: bigint;
  input_tokens: bigint;
  output_tokens: bigint;
  cache_creation_tokens: bigint;
  cache_read_tokens: bigint;
  cost_nano: Nano;
  charge_nano: Nano;
  revision: number;
}

export class PostgresMonthlySpendReport extends MonthlySpendReport {
  constructor(private readonly database: Database) {
    super();
  }

  override async list(query: MonthlySpendQuery): Promise<MonthlySpend[]> {
    const rows = await this.database.query<Row>(
      `SELECT to_char(s.month, 'YYYY-MM') AS month, s.tenant_id, s.provider, s.model, s.environment, s.requests, s.input_tokens, s.output_tokens,
              s.cache_creation_tokens, s.cache_read_tokens, s.cost_nano, s.charge_nano, s.revision
       FROM reporting.spend_month s
       WHERE s.month = ($1 || '-01')::date AND ($2::text IS NULL OR s.tenant_id = $2) AND ($3::text IS NULL OR s.environment = $3)
         AND ($4::bigint IS NULL OR (-s.charge_nano, s.tenant_id, s.provider, s.model, s.environment) > (-$4::bigint, $5::text, $6::text, $7::text, $8::text))
         AND NOT EXISTS (SELECT FROM reporting.spend_month newer WHERE (newer.tenant_id, newer.month, newer.provider, newer.model, newer.environment)
           = (s.tenant_id, s.month, s.provider, s.model, s.environment) AND newer.revision > s.revision)
       ORDER BY s.charge_nano DESC, s.tenant_id, s.provider, s.model, s.environment LIMIT $9`,
      [
        query.month,
        query.tenantId ?? null,
        query.environment ?? null,
        query.after?.chargeNano ?? null,
        query.after?.tenantId ?? null,
        query.after?.provider ?? null,
        query.after?.model ?? null,
        query.after?.environment ?? null,
        query.limit,
      ],
    );
    return rows.map((row) => ({
      month: row.month,
      tenantId: row.tenant_id,
      provider: row.provider,
      model: row.model,
      environment: row.environment,
      requests: row.requests,
      inputTokens: row.input_tokens,
      outputTokens: row.output_tokens,
      cacheCreationTokens: row.cache_creation_tokens,
      cacheReadTokens: row.cache_read_tokens,
      costNano: row.cost_nano,
      chargeNano: row.charge_nano,
      revision: row.revision,
    }));
  }
}
