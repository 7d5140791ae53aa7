/**
 * The real API on a fresh database: the same app, the same role, a frozen clock, port 0. One per test file.
 */
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { createApi, type ApiOptions } from '../../apps/api/src/app.js';
import { loadConfig } from '#libs/platform/config/config.js';
import { HealthChecks, type HealthReport } from '#libs/platform/health/health.js';
import type { Logger } from '#libs/platform/logging/logger.js';
import { FixedClock } from '#libs/kernel/testing/fixed-clock.js';
import { openTestDatabase, type TestDatabase } from './database.js';
import { TestFence } from './test-fence.js';

export interface ApiAnswer {
  readonly status: number;
  readonly headers: Headers;
  /** Parsed JSON, or the text when the answer is none. */
  // The shape is what the test is about to assert.
  readonly body: any;
}

export interface CallOptions {
  /** A value is sent as JSON; a string or Buffer as it is. */
  readonly body?: unknown;
  /** Sent as bearer token; by default the admin key, null sends none. */
  readonly key?: string | null;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface TestApi {
  readonly url: string;
  readonly adminKey: string;
  readonly clock: FixedClock;
  readonly database: TestDatabase;
  /** The right to promise; a test may take it away. */
  readonly fence: TestFence;
  /** The running application, for use cases that no route reaches. */
  readonly app: NestFastifyApplication;
  call(method: string, path: string, options?: CallOptions): Promise<ApiAnswer>;
  /** The quota state is lost, as by a restart, and may be rebuilt at once. */
  loseState(): Promise<void>;
  /** Makes a service key and returns its text. */
  makeKey(key: { scopes: readonly string[]; tenant_id?: string; source_id?: string; name?: string }): Promise<string>;
  close(): Promise<void>;
}

export const TEST_ADMIN_KEY = 'test-admin-key-of-this-run-only';

/** A test's outcome must not depend on how busy the machine is. */
const ENVIRONMENT = { LOG_LEVEL: 'silent', TOLLGATE_STORE_DEADLINE_MS: '60000' };

export async function startTestApi(
  options: {
    clock?: FixedClock;
    health?: Record<string, () => Promise<HealthReport>>;
    logger?: Logger;
    environment?: Record<string, string>;
    modules?: ApiOptions['modules'];
    controllers?: ApiOptions['controllers'];
    /** A database that another application used before: this one takes over. */
    database?: TestDatabase;
    /** A shared store with its right to promise; without it, in memory. */
    quota?: Pick<ApiOptions, 'store' | 'fence'>;
  } = {},
): Promise<TestApi> {
  const database = options.database ?? (await openTestDatabase());
  const fence = await TestFence.take(database.db);
  const clock = options.clock ?? new FixedClock();
  const health = new HealthChecks();
  for (const [name, check] of Object.entries(options.health ?? {})) health.add(name, check);
  const api = await createApi({
    health,
    config: loadConfig({ ...ENVIRONMENT, ...options.environment }),
    database: database.db,
    clock,
    adminKey: TEST_ADMIN_KEY,
    fence,
    ...options.quota,
    ...(options.logger ? { logger: options.logger } : {}),
    ...(options.modules ? { modules: options.modules } : {}),
    ...(options.controllers ? { controllers: options.controllers } : {}),
  }).catch(async (error: unknown) => {
    await database.close();
    throw error;
  });
  const url = await api.listen(0, '127.0.0.1');
  const call = async (method: string, path: string, { body, key = TEST_ADMIN_KEY, headers = {} }: CallOptions = {}): Promise<ApiAnswer> => {
    const raw = typeof body === 'string' || Buffer.isBuffer(body);
    const response = await fetch(url + path, {
      method,
      headers: {
        ...(key === null ? {} : { authorization: `Bearer ${key}` }),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: raw ? (body as string) : JSON.stringify(body) }),
    });
    const text = await response.text();
    const isJson = /json/.test(response.headers.get('content-type') ?? '') && !/ndjson/.test(response.headers.get('content-type') ?? '');
    return { status: response.status, headers: response.headers, body: isJson && text !== '' ? JSON.parse(text) : text };
  };
  return {
    url,
    adminKey: TEST_ADMIN_KEY,
    clock,
    database,
    fence,
    app: api.app,
    call,
    loseState: async () => await fence.renew(database.db),
    makeKey: async (key) => {
      const { body, status } = await call('POST', '/v1/service-keys', { body: { name: 'test key', ...key } });
      if (status !== 201) throw new Error(`no key was made: ${JSON.stringify(body)}`);
      return body.key as string;
    },
    close: async () => {
      await api.close();
      if (options.database === undefined) await database.close();
    },
  };
}
