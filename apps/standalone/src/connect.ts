/**
 * Where the single process gets its PostgreSQL: DATABASE_URL, or one it starts itself. Guarantees: what it opened is closed in the
 * right order, and without Redis no second process works on the same database (a lock; losing it turns readiness red).
 */
import { join } from 'node:path';
import type { Config } from '#libs/platform/config/config.js';
import type { HealthChecks } from '#libs/platform/health/health.js';
import type { Closers } from '#libs/platform/lifecycle/run-program.js';
import type { Logger } from '#libs/platform/logging/logger.js';
import { EmbeddedPostgres } from '#libs/platform/postgres/embedded/embedded-postgres.js';
import { ProcessLock } from '#libs/platform/postgres/process-lock.js';

interface Surroundings {
  readonly config: Config;
  readonly logger: Logger;
  readonly closers: Closers;
}

/** Connection string of a PostgreSQL that runs. @throws DataFolderInUseError, or Error with the end of PostgreSQL's log */
export async function connect({ config, logger, closers }: Surroundings): Promise<string> {
  if (config.databaseUrl !== null) return config.databaseUrl;
  const server = await EmbeddedPostgres.start({
    directory: join(config.dataDir, 'postgres'),
    database: 'tollgate',
    report: (level, message) => logger[level]({ part: 'postgres' }, message),
  });
  closers.add('postgres', () => server.stop());
  logger.info({ directory: server.directory }, 'PostgreSQL is running');
  return server.url();
}

/** The lock, and whom to tell when it is lost or held again. @throws ProcessLockTakenError */
export async function lockOutOthers({
  closers,
  logger,
  health,
  connectionString,
}: Omit<Surroundings, 'config'> & { health: HealthChecks; connectionString: string }): Promise<{
  lock: ProcessLock;
  onChange: (listener: (held: boolean) => void) => void;
}> {
  const listeners: ((held: boolean) => void)[] = [];
  const lock = await ProcessLock.acquire({
    connectionString,
    onChange: (held) => {
      if (held) logger.info({}, 'the process lock is held again');
      else logger.error({}, 'the process lock was lost; asking for it again');
      for (const listener of listeners) listener(held);
    },
  });
  closers.add('process lock', () => lock.close());
  health.add('process-lock', () => Promise.resolve(lock.isHeld ? { ok: true } : { ok: false, note: 'another process may be working on this database' }));
  return { lock, onChange: (listener) => listeners.push(listener) };
}
