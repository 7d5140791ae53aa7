/**
 * Yardstick "insert": what this PostgreSQL stores a second when nobody thinks. UNNEST, 1,000 rows a statement, prebuilt as the text that
 * goes over the wire, 2 connections, synchronous_commit=on, into a copy of metering.event with its indexes; the best of three.
 * The copy is one plain table (no partition to find, no trigger to fire), so the yardstick is rather too strong than too weak.
 */
import pg from 'pg';
import { newUuid } from '#libs/kernel/index.js';
import { benchTenant } from '../payloads/template.js';

const ROWS_PER_STATEMENT = 1_000;
const CONNECTIONS = 2;
const STATEMENTS_PER_CONNECTION = 30;
const ATTEMPTS = 3;

interface Column {
  readonly name: string;
  readonly type: string;
}

/** What a row of the subject's own bench holds; a column left out is NULL. */
function valuesOf(index: number, at: string): Record<string, string> {
  return {
    received_at: at,
    occurred_at: at,
    source_id: 'api',
    external_id: `yardstick-000-000000000000-${index}`,
    tenant_id: benchTenant(index % 100),
    status: 'success',
    quality: '7',
    usage: JSON.stringify({ input_tokens: 176 + index, cache_read_tokens: 1024, output_tokens: 350 }),
    cost_trusted: 'false',
    ends_call: 'true',
    provider: 'openai',
    model: 'gpt-4o',
    user_id: `u_${index % 97}`,
    feature: 'document_summarize',
    environment: 'prod',
    request_id: `req_yardstick-000-000000000000-${index}`,
    latency_ms: '2113',
  };
}

export class InsertYardstick {
  private constructor(
    private readonly clients: readonly pg.Client[],
    private readonly columns: readonly Column[],
    private readonly fixed: ReadonlyMap<string, string>,
  ) {}

  static async open(databaseUrl: string): Promise<InsertYardstick> {
    const clients = Array.from({ length: CONNECTIONS }, () => new pg.Client({ connectionString: databaseUrl, application_name: 'yardstick-insert' }));
    await Promise.all(clients.map(async (client) => await client.connect()));
    const [first] = clients;
    if (!first) throw new Error('no connection');
    await first.query('CREATE SCHEMA bench; CREATE TABLE bench.event (LIKE metering.event INCLUDING ALL)');
    const { rows: columns } = await first.query<Column>(
      `SELECT attname AS name, format_type(atttypid, NULL) AS type FROM pg_attribute WHERE attrelid = 'bench.event'::regclass AND attnum > 0 ORDER BY attnum`,
    );
    const rows = Array.from({ length: ROWS_PER_STATEMENT }, (_, index) => valuesOf(index, new Date().toISOString()));
    const fixed = new Map(columns.map((column) => [column.name, arrayText(rows.map((row) => row[column.name] ?? null))]));
    return new InsertYardstick(clients, columns, fixed);
  }

  /** Rows a second, the best of three. */
  async run(): Promise<number> {
    let best = 0;
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      await this.clients[0]?.query('TRUNCATE bench.event');
      best = Math.max(best, await this.attempt());
    }
    return best;
  }

  async close(): Promise<void> {
    await Promise.all(this.clients.map(async (client) => await client.end()));
  }

  private async attempt(): Promise<number> {
    const text = `INSERT INTO bench.event SELECT * FROM unnest(${this.columns.map((column, index) => `$${index + 1}::${column.type}[]`).join(', ')})`;
    const work = this.clients.map((client) => ({ client, statements: Array.from({ length: STATEMENTS_PER_CONNECTION }, () => this.parameters()) }));
    const startedAt = performance.now();
    await Promise.all(
      work.map(async ({ client, statements }) => {
        for (const values of statements) await client.query({ name: 'yardstick-insert', text, values });
      }),
    );
    return (CONNECTIONS * STATEMENTS_PER_CONNECTION * ROWS_PER_STATEMENT * 1_000) / (performance.now() - startedAt);
  }

  private parameters(): string[] {
    const at = new Date();
    const ids = arrayText(Array.from({ length: ROWS_PER_STATEMENT }, () => newUuid(at)));
    return this.columns.map((column) => (column.name === 'event_id' ? ids : (this.fixed.get(column.name) ?? '{}')));
  }
}

/** The text form of a PostgreSQL array. */
function arrayText(values: readonly (string | null)[]): string {
  return `{${values.map((value) => (value === null ? 'NULL' : `"${value.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`)).join(',')}}`;
}
