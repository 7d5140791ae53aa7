/**
 * Puts the API together: transport rules first (limits, parsers, authentication, problems), then the contexts' modules, then the routes.
 * The order matters: the hook that refuses a route without declared access has to exist before the first route does.
 */
import type { AddressInfo } from 'node:net';
import { Module, type DynamicModule, type LoggerService, type Type } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Clock } from '#libs/kernel/index.js';
import type { Config } from '#libs/platform/config/config.js';
import { HealthChecks, type HealthReport } from '#libs/platform/health/health.js';
import { createLogger, type Logger } from '#libs/platform/logging/logger.js';
import { PlatformModule } from '#libs/platform/nest/platform.module.js';
import type { Database } from '#libs/platform/postgres/database.js';
import { APP_ROLE } from '#libs/platform/postgres/migrator.js';
import { NoteAlerts, RaiseNotedAlerts } from '#libs/alerting/index.js';
import { NoFence, StoreAway, TellCrossings, type QuotaFence, type QuotaStore } from '#libs/quota/index.js';
import { SpendWakeUp } from '#libs/platform/queue/spend-wake-up.js';
import { AuthenticateCaller } from '#libs/tenancy/index.js';
import { contextModules } from '../../contexts.js';
import { refuseUndeclaredRoutes } from './http/access.js';
import { registerAuthentication } from './http/authentication.js';
import { BODY_LIMIT_BYTES, registerBodyParsers } from './http/body-parsers.js';
import { answerClientError } from './http/client-error.js';
import { Metrics } from './http/metrics.js';
import { OpenApiDocument } from './http/openapi.js';
import { ProblemFilter, sendProblem } from './http/problem.filter.js';
import { registerRequestLog, requestIdOf, setBaseHeaders } from './http/request-log.js';
import { createValidationPipe } from './http/validation.js';
import { controllers } from './v1/controllers.js';

export interface ApiOptions {
  readonly config: Config;
  readonly database: Database;
  readonly clock?: Clock;
  readonly logger?: Logger;
  readonly health?: HealthChecks;
  /** The provisioned admin key; by default the one of the environment. */
  readonly adminKey?: string | null;
  /** Tells the poster that events wait; without it the worker's sweep finds them. */
  readonly wakeUp?: SpendWakeUp;
  /** What proves the right to promise; without it, authorize answers by each tenant's `on_store_failure`. */
  readonly fence?: QuotaFence;
  /** Where quota state is kept; without it, in memory. */
  readonly store?: QuotaStore;
  /** Further modules, for instance the worker's in a single process. */
  readonly modules?: ReadonlyArray<Type | DynamicModule>;
  /** Further controllers, for tests of the transport itself. */
  readonly controllers?: readonly Type[];
}

export interface Api {
  readonly app: NestFastifyApplication;
  /** Starts listening and returns the base URL; port 0 takes a free one. */
  listen(port: number, host: string): Promise<string>;
  /** Finishes the requests under way and stops. */
  close(): Promise<void>;
}

// A body of 8 MiB over a slow line fits; a sender that trickles bytes does not.
const REQUEST_TIMEOUT_MS = 30_000;
const HEADERS_TIMEOUT_MS = 10_000;
// An id has at most 128 bytes, each of which may arrive as three characters.
const MAX_PARAM_LENGTH = 512;

@Module({})
class ApiModule {}

class NoWakeUp extends SpendWakeUp {
  override wake(): void {}
}

/** Builds the API without listening. @throws InvariantError when a route declares no access */
export async function createApi(options: ApiOptions): Promise<Api> {
  const logger = options.logger ?? createLogger({ level: options.config.logLevel });
  const health = options.health ?? new HealthChecks();
  health.add('database', async () => await checkDatabase(options.database));
  const document = new OpenApiDocument();
  const metrics = new Metrics();
  const adapter = createAdapter(logger);
  const platform = PlatformModule.register({
    config: options.config,
    database: options.database,
    clock: options.clock,
    adminKey: options.adminKey,
    logger,
    health,
  });
  const root: DynamicModule = {
    module: ApiModule,
    imports: [
      platform,
      ...contextModules({ config: options.config, wakeUp: options.wakeUp ?? new NoWakeUp(), fence: options.fence ?? new NoFence(), store: options.store }),
      ...(options.modules ?? []),
    ],
    controllers: [...controllers, ...(options.controllers ?? [])],
    providers: [
      { provide: OpenApiDocument, useValue: document },
      { provide: Metrics, useValue: metrics },
    ],
  };
  const app = await NestFactory.create<NestFastifyApplication>(root, adapter, {
    logger: new NestLog(logger),
    bodyParser: false,
    abortOnError: false,
    forceCloseConnections: true,
  });
  const instance = adapter.getInstance<FastifyInstance>();
  refuseUndeclaredRoutes(instance);
  registerRequestLog(instance, logger);
  metrics.observe(instance);
  registerAuthentication(instance, app.get(AuthenticateCaller));
  registerBodyParsers(instance);
  app.useGlobalPipes(createValidationPipe());
  app.useGlobalFilters(new ProblemFilter(logger));
  await app.init();
  metrics.countBypasses(() => app.get(StoreAway, { strict: false }).bypasses);
  metrics.countAlertFailures(() => [NoteAlerts, RaiseNotedAlerts, TellCrossings].reduce((sum, part) => sum + app.get(part, { strict: false }).failures, 0));
  document.make(app);
  return {
    app,
    listen: async (port, host) => {
      await app.listen(port, host);
      const address = app.getHttpServer().address() as AddressInfo;
      return `http://${address.family === 'IPv6' ? `[${address.address}]` : address.address}:${address.port}`;
    },
    close: async () => await app.close(),
  };
}

/** Reachable, and how strongly the insert-only tables are guarded. */
async function checkDatabase(database: Database): Promise<HealthReport> {
  const rows = await database.query<{ acting_as: string }>('SELECT current_user AS acting_as');
  return { ok: true, note: rows[0]?.acting_as === APP_ROLE ? 'immutability: role and triggers' : 'immutability: triggers only' };
}

function createAdapter(logger: Logger): FastifyAdapter {
  return new FastifyAdapter({
    logger: false,
    bodyLimit: BODY_LIMIT_BYTES,
    requestTimeout: REQUEST_TIMEOUT_MS,
    http: { headersTimeout: HEADERS_TIMEOUT_MS },
    routerOptions: { maxParamLength: MAX_PARAM_LENGTH },
    genReqId: requestIdOf,
    frameworkErrors: (error: Error, request: FastifyRequest, reply: FastifyReply) => {
      setBaseHeaders(request, reply);
      sendProblem(logger, error, request, reply);
    },
    clientErrorHandler: answerClientError,
  });
}

/** Nest's own messages: the start-up chatter is debug, its warnings and errors are ours. */
class NestLog implements LoggerService {
  constructor(private readonly logger: Logger) {}

  log(message: unknown): void {
    this.logger.debug({}, String(message));
  }

  warn(message: unknown): void {
    this.logger.warn({}, String(message));
  }

  error(message: unknown): void {
    this.logger.error({}, String(message));
  }
}
