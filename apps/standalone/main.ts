/** What `npm start` runs: API, worker and, without DATABASE_URL, a PostgreSQL of its own, in one process. */
import { HealthChecks } from '#libs/platform/health/health.js';
import { runProgram } from '#libs/platform/lifecycle/run-program.js';
import { openDatabase } from '#libs/platform/postgres/open-database.js';
import { openQueueBackend } from '#libs/platform/queue/open-queue.js';
import { NoFence, StopPromising } from '#libs/quota/index.js';
import { migrations } from '../../migrations/index.js';
import { createApi } from '../api/src/app.js';
import { openSharedQuota } from '../shared-quota.js';
import { openWakeUp } from '../wake-up.js';
import { startWorker } from '../worker/src/worker.js';
import { readOrMakeAdminKey } from './src/admin-key.js';
import { connect, lockOutOthers } from './src/connect.js';
import { promiseBehind } from './src/lock-fence.js';
import { welcome } from './src/welcome.js';

await runProgram('standalone', async ({ config, logger, closers }) => {
  const made = config.adminKey === null ? readOrMakeAdminKey(config.dataDir) : null;
  const health = new HealthChecks();
  const connectionString = await connect({ config, logger, closers });
  const lockedOut = config.redisUrl === null ? await lockOutOthers({ closers, logger, health, connectionString }) : null;
  const { database } = await openDatabase({
    connectionString,
    migrationConnectionString: config.databaseMigrationUrl,
    migrations,
    maxConnections: config.databasePoolSize,
    applicationName: 'tollgate',
    warn: (message) => logger.warn({}, message),
  });
  closers.add('database', () => database.close());
  const backend = await openQueueBackend({ redisUrl: config.redisUrl, connectionString, logger });
  closers.add('queue', () => backend.close());
  const shared = config.redisUrl === null ? null : await openSharedQuota({ config, redisUrl: config.redisUrl, database, logger, health, closers });
  const fence = lockedOut === null ? (shared?.fence ?? new NoFence()) : await promiseBehind(lockedOut, logger);
  const wakeUp = openWakeUp({ backend, logger, closers });
  const api = await createApi({
    config,
    database,
    logger,
    health,
    adminKey: config.adminKey ?? made?.key ?? null,
    wakeUp,
    fence,
    ...(shared ? { store: shared.store } : {}),
  });
  // When no request and no posting is under way any more.
  closers.add('quota', () => api.app.get(StopPromising).execute());
  const worker = startWorker({
    resolve: (useCase) => api.app.get(useCase as never, { strict: false }),
    backend,
    health,
    logger,
    shared: config.redisUrl !== null,
    promises: true,
  });
  closers.add('worker', () => worker.close());
  // Last opened, first closed: no new request while the worker finishes.
  closers.add('api', () => api.close());
  const url = await api.listen(config.port, config.host);
  logger.info({ url }, 'Tollgate is listening');
  process.stdout.write(welcome({ url, keyFile: made?.file ?? null }));
});
