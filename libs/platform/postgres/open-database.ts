/**
 * From a connection string to a database that can be trusted with money. Guarantees: the schema is current (the advisory lock inside
 * `migrate` lets several processes start at once), pool connections act as the unprivileged role, and a server or login that would
 * acknowledge before the disk has it (`synchronous_commit=off`) stops the start.
 */
import { Database } from './database.js';
import { migrate, type MigrationClass } from './migrator.js';

export interface OpenedDatabase {
  readonly database: Database;
  /** Null where the login may not create roles: then triggers alone protect the ledger, and readiness says so. */
  readonly role: string | null;
}

/** `local` waits for our disk but not for a replica's, `remote_*` and `on` for ours at least. */
const DURABLE = new Set(['on', 'local', 'remote_write', 'remote_apply']);

/** @throws Error naming the setting, or the connection's own error */
export async function openDatabase(input: {
  connectionString: string;
  /** A login that may change the schema, where it is another one. */
  migrationConnectionString?: string | null;
  migrations: readonly MigrationClass[];
  maxConnections: number;
  applicationName: string;
  warn: (message: string) => void;
}): Promise<OpenedDatabase> {
  const { role } = await migrate({ connectionString: input.migrationConnectionString ?? input.connectionString, migrations: input.migrations });
  const { connectionString, maxConnections, applicationName } = input;
  const database = new Database({ connectionString, maxConnections, applicationName, role });
  try {
    await assertDurable(database, input.warn);
  } catch (error) {
    await database.close();
    throw error;
  }
  return { database, role };
}

async function assertDurable(database: Database, warn: (message: string) => void): Promise<void> {
  const rows = await database.query<{ name: string; setting: string }>(`SELECT name, setting FROM pg_settings WHERE name IN ('synchronous_commit', 'fsync')`);
  const settings = new Map(rows.map(({ name, setting }) => [name, setting]));
  const commit = settings.get('synchronous_commit') ?? 'unknown';
  if (!DURABLE.has(commit)) throw new Error(`PostgreSQL runs with synchronous_commit=${commit}: acknowledged events could be lost; set it to on`);
  // The whole server is then declared expendable: a decision of its operator (ours in the tests), not an oversight of one database.
  if (settings.get('fsync') === 'off') warn('PostgreSQL runs with fsync=off: a power cut may destroy the database');
}
