/** PostgreSQL for one bench: the embedded one with the product's own settings, its data in a folder that goes afterwards. */
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { EmbeddedPostgres } from '#libs/platform/postgres/embedded/embedded-postgres.js';
import { migrate } from '#libs/platform/postgres/migrator.js';
import { migrations } from '../../migrations/index.js';

export class BenchDatabase {
  private constructor(
    private readonly server: EmbeddedPostgres,
    /** Folder of this bench, on the same disk as the database. */
    readonly directory: string,
    readonly subjectUrl: string,
    /** A database of the same server with the product's schema, for the yardsticks. */
    readonly yardstickUrl: string,
    /** On the subject's database, as its owner. */
    readonly client: pg.Client,
  ) {}

  static async start(): Promise<BenchDatabase> {
    const directory = mkdtempSync(join(tmpdir(), 'tollgate-bench-'));
    chmodSync(directory, 0o755);
    const server = await EmbeddedPostgres.start({
      directory: join(directory, 'postgres'),
      database: 'subject',
      report: (level, message) => level === 'info' || process.stderr.write(`bench PostgreSQL: ${message}\n`),
    });
    const subjectUrl = server.url();
    const client = new pg.Client({ connectionString: subjectUrl, application_name: 'bench' });
    await client.connect();
    await client.query('CREATE DATABASE yardstick');
    const yardstickUrl = server.url('yardstick');
    await migrate({ connectionString: subjectUrl, migrations });
    await migrate({ connectionString: yardstickUrl, migrations });
    return new BenchDatabase(server, directory, subjectUrl, yardstickUrl, client);
  }

  /** Before every measured stretch, so that none pays for the pages of another. */
  async checkpoint(): Promise<void> {
    await this.client.query('CHECKPOINT');
  }

  async count(table: string, where = 'true'): Promise<number> {
    const { rows } = await this.client.query<{ n: string }>(`SELECT count(*) AS n FROM ${table} WHERE ${where}`);
    return Number(rows[0]?.n);
  }

  async stop(): Promise<void> {
    await this.client.end();
    await this.server.stop();
    rmSync(this.directory, { recursive: true, force: true });
  }
}
