/** The API of the scaled-out shape: acknowledges and answers. Any number of them may run, any of them may die. */
import { requireSharedServices } from '#libs/platform/config/config.js';
import { runProgram } from '#libs/platform/lifecycle/run-program.js';
import { openDatabase } from '#libs/platform/postgres/open-database.js';
import { SECOND_MS } from '#libs/kernel/index.js';
import { openQueueBackend } from '#libs/platform/queue/open-queue.js';
import { Schedules } from '#libs/platform/queue/schedules.js';
import { HealthChecks } from '#libs/platform/health/health.js';
import { DecisionLog, HoldJournal, StopPromising } from '#libs/quota/index.js';
import { migrations } from '../../migrations/index.js';
import { openSharedQuota } from '../shared-quota.js';
import { openWakeUp } from '../wake-up.js';
import { createApi } from './src/app.js';

await runProgram('api', async ({ config, logger, closers }) => {
  const { databaseUrl, redisUrl } = requireSharedServices(config, 'npm run start:api');
  const { database } = await openDatabase({
    connectionString: databaseUrl,
    migrationConnectionString: config.databaseMigrationUrl,
    migrations,
    maxConnections: config.databasePoolSize,
    applicationName: 'tollgate-api',
    warn: (message) => logger.warn({}, message),
  });
  closers.add('database', () => database.close());
  const backend = await openQueueBackend({ redisUrl, connectionString: databaseUrl, logger });
  closers.add('queue', () => backend.close());
  const wakeUp = openWakeUp({ backend, logger, closers });
  const health = new HealthChecks();
  const { store, fence } = await openSharedQuota({ config, redisUrl, database, logger, health, closers });
  const api = await createApi({ config, database, logger, health, wakeUp, store, fence });
  // Decisions and holds are written where they are made.
  const schedules = new Schedules((error, task) => logger.error({ error, task }, 'a scheduled task failed; it is tried again'));
  schedules.start([
    { name: 'write-decisions', everyMs: SECOND_MS, run: async () => await api.app.get(DecisionLog).flush() },
    { name: 'write-holds', everyMs: 100, run: async () => await api.app.get(HoldJournal).flush() },
  ]);
  closers.add('schedules', async () => {
    await schedules.close();
    await api.app.get(StopPromising).execute();
  });
  closers.add('api', () => api.close());
  logger.info({ url: await api.listen(config.port, config.host) }, 'API is listening');
});
