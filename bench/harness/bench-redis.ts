/** A Redis (or Valkey) for one bench: nothing on disk, nothing evicted, as the product demands and `docker-compose.yml` runs it. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { freePort } from './subject.js';

const PROGRAMS = ['redis-server', 'valkey-server'];
const SETTINGS = ['--save', '', '--appendonly', 'no', '--maxmemory-policy', 'noeviction', '--bind', '127.0.0.1'];
const POLL_MS = 20;

export class BenchRedis {
  private constructor(
    private readonly program: string,
    private readonly port: number,
    private server: ChildProcess,
  ) {}

  /** @throws Error where there is no program for it */
  static async start(): Promise<BenchRedis> {
    const program = PROGRAMS.find((name) => spawnSync(name, ['--version']).status === 0);
    if (program === undefined) throw new Error('this bench needs redis-server or valkey-server on the PATH');
    const port = await freePort();
    return new BenchRedis(program, port, await launch(program, port));
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}/0`;
  }

  async stop(): Promise<void> {
    if (this.server.exitCode !== null || this.server.signalCode !== null) return;
    this.server.kill('SIGKILL');
    await once(this.server, 'exit');
  }

  /** kill -9, and another server with nothing in it in its place. */
  async replace(): Promise<void> {
    await this.stop();
    this.server = await launch(this.program, this.port);
  }
}

async function launch(program: string, port: number): Promise<ChildProcess> {
  const server = spawn(program, [...SETTINGS, '--port', String(port)], { stdio: 'ignore', cwd: '/' });
  const probe = new Redis(port, '127.0.0.1', { maxRetriesPerRequest: null, retryStrategy: () => POLL_MS });
  probe.on('error', () => undefined);
  while ((await Promise.race([probe.ping(), delay(1_000, null)])) === null) if (server.exitCode !== null) throw new Error(`${program} did not start`);
  probe.disconnect();
  return server;
}
