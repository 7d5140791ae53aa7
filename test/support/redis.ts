/**
 * A Redis of one's own for a test file: REDIS_URL when set (never emptied; tests use their own names), else a `redis-server` or
 * `valkey-server` of the PATH, on 127.0.0.1, without persistence. Where there is neither, `describeWithRedis` marks its tests as not
 * run, and the closing line of the run names them loudly (no-skip-reporter.js; a failure where the run requires Redis).
 */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { createServer, type AddressInfo } from 'node:net';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Redis } from 'ioredis';

export interface TestRedis {
  readonly url: string;
  /** Kills the server the hard way; null where it is not ours to kill. */
  readonly kill: (() => Promise<void>) | null;
  /** Stops it without ending it, or lets it go on. */
  signal(name: 'SIGSTOP' | 'SIGCONT'): void;
  /** Starts it again on the same port. */
  restart(): Promise<void>;
  close(): Promise<void>;
}

const READY_TIMEOUT_MS = 10_000;
const DEFAULT_SETTINGS = ['--save', '', '--appendonly', 'no', '--maxmemory-policy', 'noeviction'];

/** What can be used here; null: neither REDIS_URL nor a server on the PATH. */
function findRedis(): { url: string } | { program: string } | null {
  const url = process.env['REDIS_URL'];
  if (url) return { url };
  const program = ['redis-server', 'valkey-server'].find((name) => spawnSync(name, ['--version']).status === 0);
  return program === undefined ? null : { program };
}

export const describeWithRedis = findRedis() === null ? describe.skip : describe;

/** A server started by this test file, with these command line settings. @throws Error where there is no program for it */
export async function startRedis(options: { settings?: readonly string[] } = {}): Promise<TestRedis> {
  const settings = options.settings ?? DEFAULT_SETTINGS;
  const found = findRedis();
  if (found === null) throw new Error('no redis-server or valkey-server on the PATH and no REDIS_URL');
  if ('url' in found) return { url: found.url, kill: null, signal: () => undefined, restart: () => Promise.resolve(), close: () => Promise.resolve() };
  const port = await freePort();
  const url = `redis://127.0.0.1:${port}/0`;
  let server = await launch(found.program, port, settings);
  const kill = async (): Promise<void> => {
    const gone = new Promise<void>((resolve) => server.once('exit', () => resolve()));
    server.kill('SIGKILL');
    await gone;
  };
  return {
    url,
    kill,
    signal: (name) => server.kill(name),
    restart: async () => {
      server = await launch(found.program, port, settings);
    },
    close: async () => {
      if (server.exitCode === null && server.signalCode === null) await kill();
    },
  };
}

async function launch(program: string, port: number, settings: readonly string[]): Promise<ChildProcess> {
  // A folder of its own: a server loads whatever dump another one left in its folder.
  const directory = mkdtempSync(join(tmpdir(), 'tollgate-redis-'));
  const server = spawn(program, ['--dir', directory, ...settings, '--port', String(port), '--bind', '127.0.0.1'], { stdio: 'ignore', cwd: '/' });
  server.once('exit', () => rmSync(directory, { recursive: true, force: true }));
  const probe = new Redis(`redis://127.0.0.1:${port}/0`, {
    lazyConnect: true,
    retryStrategy: (attempt) => Math.min(attempt * 20, 200),
    maxRetriesPerRequest: null,
  });
  probe.on('error', () => undefined);
  try {
    await Promise.race([probe.ping(), delay(READY_TIMEOUT_MS, null, { ref: false }).then(() => Promise.reject(new Error(`${program} did not start`)))]);
  } finally {
    probe.disconnect();
  }
  return server;
}

async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, '127.0.0.1', resolve));
  const { port } = probe.address() as AddressInfo;
  await new Promise<void>((resolve) => probe.close(() => resolve()));
  return port;
}

export interface TestRedisCluster {
  readonly urls: readonly string[];
  /** Kills the node of that number and starts it again, empty, under its name. */
  restart(node: number): Promise<void>;
  close(): Promise<void>;
}

const CLUSTER_NODES = 3;
const HASH_SLOTS = 16_384;

/** Three plain servers that are masters of a third of the slots each, without persistence. */
export async function startRedisCluster(): Promise<TestRedisCluster> {
  const program = ['redis-server', 'valkey-server'].find((name) => spawnSync(name, ['--version']).status === 0);
  if (program === undefined) throw new Error('no redis-server or valkey-server on the PATH');
  const directory = mkdtempSync(join(tmpdir(), 'tollgate-cluster-'));
  const ports = await Promise.all(Array.from({ length: CLUSTER_NODES }, freePort));
  const settingsOf = (index: number): string[] => [
    ...DEFAULT_SETTINGS,
    '--cluster-enabled',
    'yes',
    '--cluster-config-file',
    join(directory, `nodes-${index}.conf`),
    '--cluster-require-full-coverage',
    'no',
    '--cluster-port',
    String(clusterPorts[index]),
  ];
  const clusterPorts = await Promise.all(Array.from({ length: CLUSTER_NODES }, freePort));
  const servers = await Promise.all(ports.map(async (port, index) => await launch(program, port, settingsOf(index))));
  const nodes = ports.map((port) => new Redis(port, '127.0.0.1', { maxRetriesPerRequest: null }));
  for (const node of nodes) node.on('error', () => undefined);
  await Promise.all(
    nodes.map(async (node, index) => {
      const [from, to] = [index, index + 1].map((share) => Math.floor((share * HASH_SLOTS) / CLUSTER_NODES));
      await node.call('CLUSTER', 'ADDSLOTSRANGE', String(from), String((to ?? 0) - 1));
    }),
  );
  for (const [index, port] of ports.entries()) if (index > 0) await nodes[0]?.call('CLUSTER', 'MEET', '127.0.0.1', String(port), String(clusterPorts[index]));
  const complete = async (): Promise<boolean> => {
    const infos = await Promise.all(nodes.map(async (node) => String(await node.call('CLUSTER', 'INFO'))));
    const slots = await Promise.all(nodes.map(async (node) => ((await node.call('CLUSTER', 'SLOTS')) as unknown[]).length));
    return infos.every((info) => info.includes('cluster_state:ok')) && slots.every((count) => count === CLUSTER_NODES);
  };
  const until = performance.now() + READY_TIMEOUT_MS;
  while (!(await complete())) {
    if (performance.now() > until) throw new Error('the cluster did not come together');
    await delay(50);
  }
  for (const node of nodes) node.disconnect();
  const kill = async (server: ChildProcess): Promise<void> => {
    const gone = new Promise<void>((resolve) => server.once('exit', () => resolve()));
    server.kill('SIGKILL');
    await gone;
  };
  return {
    urls: ports.map((port) => `redis://127.0.0.1:${port}`),
    restart: async (index) => {
      const server = servers[index];
      if (server) await kill(server);
      servers[index] = await launch(program, ports[index] ?? 0, settingsOf(index));
    },
    close: async () => {
      await Promise.all(servers.filter((server) => server.exitCode === null && server.signalCode === null).map(kill));
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
