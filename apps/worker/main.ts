/** The worker of the scaled-out shape: posts what the APIs acknowledged. Any number of them may run, any of them may die. */
import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { requireSharedServices } from '#libs/platform/config/config.js';
import { HealthChecks } from '#libs/platform/health/health.js';
import { startHealthServer } from '#libs/platform/health/health-server.js';
import { runProgram } from '#libs/platform/lifecycle/run-program.js';
import { PlatformModule } from '#libs/platform/nest/platform.module.js';
import { openDatabase } from '#libs/platform/postgres/open-database.js';
import { openQueueBackend } from '#libs/platform/queue/open-queue.js';
import { StopPromising } from '#libs/quota/index.js';
import { migrations } from '../../migrations/index.js';
import { contextModules } from '../contexts.js';
import { openSharedQuota } from '../shared-quota.js';
import { openWakeUp } from '../wake-up.js';
import { startWorker } from './src/worker.js';

@Module({})
class WorkerModule {}

await runProgram('worker', async ({ config, logger, closers }) => {
  const { databaseUrl, redisUrl } = requireSharedServices(config, 'npm run start:worker');
  const health = new HealthChecks();
  const { database } = await openDatabase({
    connectionString: databaseUrl,
    migrationConnectionString: config.databaseMigrationUrl,
    migrations,
    maxConnections: config.databasePoolSize,
    applicationName: 'tollgate-worker',
    warn: (message) => logger.warn({}, message),
  });
  closers.add('database', () => database.close());
  health.add('database', async () => {
    await database.query('SELECT 1');
    return { ok: true };
  });
  const backend = await openQueueBackend({ redisUrl, connectionString: databaseUrl, logger });
  closers.add('queue', () => backend.close());
  const wakeUp = openWakeUp({ backend, logger, closers });
  const { store, fence } = await openSharedQuota({ config, redisUrl, database, logger, health, closers });
  const imports = [PlatformModule.register({ config, database, logger, health }), ...contextModules({ config, wakeUp, fence, store })];
  const app = await NestFactory.createApplicationContext({ module: WorkerModule, imports }, { logger: false, abortOnError: false });
  closers.add('application', () => app.close());
  closers.add('quota', () => app.get(StopPromising, { strict: false }).execute());
  const worker = startWorker({ resolve: (useCase) => app.get(useCase as never, { strict: false }), backend, health, logger, shared: true, promises: true });
  closers.add('worker', () => worker.close());
  const server = await startHealthServer({ health, host: config.host, port: config.workerPort });
  closers.add('health', () => server.close());
  logger.info({ url: `${server.url}/health/ready` }, 'worker is running');
});
