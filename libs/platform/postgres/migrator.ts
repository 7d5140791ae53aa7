/**
 * Brings a database to the current schema. Safe when several processes start at once: a session advisory lock lets one of them
 * migrate while the others wait. The unprivileged role is made here because a role outlives any one database.
 */
import pg from 'pg';
import { DataSource, type MigrationInterface } from 'typeorm';

export const APP_ROLE = 'tollgate_app';
// Any constant shared by all Tollgate processes; the bytes spell "tollmigr".
const MIGRATION_LOCK = 8390891554064296306n;

export type MigrationClass = new () => MigrationInterface;

export interface MigrationOutcome {
  /** The role pool connections take on, or null where the login may not create roles ("immutability: triggers only"). */
  readonly role: string | null;
  readonly applied: readonly string[];
}

/** Runs every migration of `migrations` not yet applied, each in a transaction of its own. */
export async function migrate(input: { connectionString: string; migrations: readonly MigrationClass[] }): Promise<MigrationOutcome> {
  const lock = new pg.Client({ connectionString: input.connectionString, application_name: 'tollgate-migrator' });
  await lock.connect();
  try {
    await lock.query('SELECT pg_advisory_lock($1)', [MIGRATION_LOCK.toString()]);
    const role = await ensureRole(lock);
    const dataSource = new DataSource({
      type: 'postgres',
      url: input.connectionString,
      migrations: [...input.migrations],
      migrationsTableName: 'tollgate_migration',
      migrationsTransactionMode: 'each',
    });
    await dataSource.initialize();
    try {
      const applied = await dataSource.runMigrations();
      return { role, applied: applied.map((migration) => migration.name) };
    } finally {
      await dataSource.destroy();
    }
  } finally {
    await lock.end();
  }
}

/** Takes back the newest migration. Used by tests and by an operator who rolls back a release. */
export async function undoLastMigration(input: { connectionString: string; migrations: readonly MigrationClass[] }): Promise<void> {
  const dataSource = new DataSource({
    type: 'postgres',
    url: input.connectionString,
    migrations: [...input.migrations],
    migrationsTableName: 'tollgate_migration',
  });
  await dataSource.initialize();
  try {
    await dataSource.undoLastMigration();
  } finally {
    await dataSource.destroy();
  }
}

async function ensureRole(client: pg.Client): Promise<string | null> {
  const { rows } = await client.query<{ role_exists: boolean; may_create: boolean; may_use: boolean }>(
    `SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1) AS role_exists,
            (SELECT rolcreaterole OR rolsuper FROM pg_roles WHERE rolname = current_user) AS may_create,
            coalesce((SELECT pg_has_role(current_user, oid, 'MEMBER') FROM pg_roles WHERE rolname = $1), false) AS may_use`,
    [APP_ROLE],
  );
  const state = rows[0];
  if (state?.role_exists) return state.may_use ? APP_ROLE : null;
  if (!state?.may_create) return null;
  await client.query(`CREATE ROLE ${pg.escapeIdentifier(APP_ROLE)} NOLOGIN`).catch((error: { code?: string }) => {
    // Another database of the same cluster was migrated at the same moment.
    if (error.code !== '42710' && error.code !== '23505') throw error;
  });
  await client.query(`GRANT ${pg.escapeIdentifier(APP_ROLE)} TO CURRENT_USER`);
  return APP_ROLE;
}
