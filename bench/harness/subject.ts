/** The real compiled server as `npm start` runs it, in a process of its own, on a PostgreSQL that the yardsticks share. */
import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { benchTenant } from '../payloads/template.js';

const READY_TIMEOUT_MS = 60_000;
/** What `npm start` gives node, word for word. */
const NODE_FLAGS = /^node (.*)dist\/apps\/standalone\/main\.js$/;

const PLENTY = 1_000_000_000;
/** By calendar and rolling, in dollars, tokens, requests and running calls. */
const BUDGETS = {
  'user-month': { per: ['tenant_id', 'user_id'], period: 'month', limit_usd: '1000000.00' },
  'feature-day': { per: ['tenant_id', 'feature'], period: 'day', limit_tokens: 1_000 * PLENTY },
  'tenant-minute': { per: ['tenant_id'], period: { rolling_seconds: 60 }, limit_requests: PLENTY },
  'running-calls': { per: ['tenant_id'], period: 'total', limit_concurrent: PLENTY },
};

export class Subject {
  private constructor(
    private readonly child: ChildProcess,
    readonly port: number,
    private readonly adminKey: string,
  ) {}

  /** `profileDirectory`: write a V8 CPU profile there when the server ends. `redisUrl`: quota state and queue are there. */
  static async start(input: {
    databaseUrl: string;
    dataDirectory: string;
    profileDirectory: string | null;
    redisUrl?: string | undefined;
    settings?: Readonly<Record<string, string>> | undefined;
  }): Promise<Subject> {
    const port = await freePort();
    const adminKey = `bench-${randomBytes(24).toString('hex')}`;
    const profiling = input.profileDirectory === null ? [] : ['--cpu-prof', `--cpu-prof-dir=${input.profileDirectory}`];
    const child = spawn(process.execPath, [...startFlags(), ...profiling, 'dist/apps/standalone/main.js'], {
      stdio: ['ignore', 'ignore', 'inherit'],
      env: {
        ...process.env,
        PORT: String(port),
        HOST: '127.0.0.1',
        REDIS_URL: input.redisUrl ?? '',
        DATABASE_URL: input.databaseUrl,
        TOLLGATE_DATA_DIR: input.dataDirectory,
        TOLLGATE_ADMIN_KEY: adminKey,
        LOG_LEVEL: 'warn',
        ...input.settings,
      },
    });
    const subject = new Subject(child, port, adminKey);
    await subject.waitUntilReady();
    return subject;
  }

  /** Resident memory in MB. */
  residentMb(): number {
    const kilobytes = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${this.child.pid}/status`, 'utf8'))?.[1];
    return Number(kilobytes) / 1_024;
  }

  /** Calls the API as admin. @throws Error for any status but 2xx */
  async call<T>(method: string, path: string, body?: unknown): Promise<T> {
    const response = await fetch(`http://127.0.0.1:${this.port}${path}`, {
      method,
      headers: { authorization: `Bearer ${this.adminKey}`, 'content-type': 'application/json', 'idempotency-key': randomBytes(12).toString('hex') },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return JSON.parse(text) as T;
  }

  /** A service key with one scope, as a gateway holds it. */
  async serviceKey(scope: string): Promise<string> {
    return (await this.call<{ key: string }>('POST', '/v1/service-keys', { name: 'bench', scopes: [scope] })).key;
  }

  /** Prepaid tenants with credit that no bench uses up. */
  async makeTenants(count: number): Promise<void> {
    for (let index = 0; index < count; index += 1) {
      await this.call('PUT', `/v1/tenants/${benchTenant(index)}`, { name: `Bench ${index}` });
      await this.call('POST', `/v1/tenants/${benchTenant(index)}/credits`, { amount_usd: '1000000.00', kind: 'paid' });
    }
  }

  /** Wallet and these four are what a decision is judged by; no bench uses them up. */
  async makeBudgets(): Promise<void> {
    for (const [id, body] of Object.entries(BUDGETS)) await this.call('PUT', `/v1/budgets/${id}`, body);
  }

  async stop(signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    this.child.kill(signal);
    await once(this.child, 'exit');
  }

  private async waitUntilReady(): Promise<void> {
    for (const deadline = performance.now() + READY_TIMEOUT_MS; ; await delay(100)) {
      if (this.child.exitCode !== null) throw new Error(`the server ended with code ${this.child.exitCode} before it was ready`);
      const ready = await fetch(`http://127.0.0.1:${this.port}/health/ready`).then(
        (response) => response.ok,
        () => false,
      );
      if (ready) return;
      if (performance.now() > deadline) throw new Error(`the server was not ready within ${READY_TIMEOUT_MS / 1_000} s`);
    }
  }
}

function startFlags(): string[] {
  const { scripts } = JSON.parse(readFileSync('package.json', 'utf8')) as { scripts: { start: string } };
  const flags = NODE_FLAGS.exec(scripts.start)?.[1];
  if (flags === undefined) throw new Error(`the start command is not one the bench understands: ${scripts.start}`);
  return flags.split(' ').filter((flag) => flag !== '');
}

export async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as AddressInfo;
  probe.close();
  await once(probe, 'close');
  return port;
}
