/**
 * Real gateways for a test file, each on a free port of 127.0.0.1 with the configuration that we ship: nginx of the distribution, Envoy
 * and Portkey as scripts/gateways.sh installs them. Only addresses, keys and timeouts are replaced, because a test's outcome must not
 * depend on how busy the machine is. What is missing marks its tests as not run (no-skip-reporter.js; a failure where gateways are required).
 */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { eventually } from './eventually.js';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const ENVOY = join(ROOT, '.gateways/envoy/bin/envoy');
const PORTKEY = join(ROOT, '.gateways/portkey/node_modules/@portkey-ai/gateway/build/start-server.js');
const START_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 10_000;
const LOG_TAIL = 4_000;
const PATIENCE = '30s';

export const describeWithNginx = spawnSync('nginx', ['-v']).status === 0 ? describe : describe.skip;
export const describeWithEnvoy = existsSync(ENVOY) ? describe : describe.skip;
export const describeWithPortkey = existsSync(PORTKEY) ? describe : describe.skip;

export interface Gateway {
  readonly url: string;
  close(): Promise<void>;
}

/** Where things stand: host:port each. */
export interface Addresses {
  readonly tollgate: string;
  readonly provider: string;
  readonly cheaper: string;
}

/** `clients`: further lines of the map of who pays. */
export async function startNginx(addresses: Addresses, key: string, clients: Readonly<Record<string, string>>): Promise<Gateway> {
  const port = await freePort();
  const map = Object.entries(clients).map(([text, tenant]) => `  "Bearer ${text}" "${tenant}";\n`);
  const shipped = placed(readShipped('nginx/tollgate.conf'), addresses, port)
    .replaceAll('TOLLGATE_KEY', key)
    .replaceAll(/(proxy_(?:connect|send|read)_timeout) (?:250ms|1s);/g, `$1 ${PATIENCE};`)
    .replace('  "Bearer client-key-of-acme"', `${map.join('')}  "Bearer client-key-of-acme"`);
  return await start(port, (folder) => {
    const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((kind) => `${kind}_temp_path ${folder}/${kind};`).join(' ');
    const frame = `${process.getuid?.() === 0 ? 'user root;' : ''} pid ${folder}/pid; error_log stderr; events {} http { access_log off; ${temporary}\n${shipped}\n}`;
    writeFileSync(join(folder, 'nginx.conf'), frame);
    return spawn('nginx', ['-c', join(folder, 'nginx.conf'), '-p', folder, '-e', 'stderr', '-g', 'daemon off;'], { stdio: ['ignore', 'pipe', 'pipe'] });
  });
}

export async function startEnvoy(addresses: Addresses, key: string): Promise<Gateway> {
  const port = await freePort();
  const shipped = placed(readShipped('envoy/envoy.yaml'), addresses, port).replaceAll('value: TOLLGATE_KEY', `value: ${key}`).replaceAll('0.25s', PATIENCE);
  return await start(port, (folder) => {
    writeFileSync(join(folder, 'envoy.yaml'), shipped);
    return spawn(ENVOY, ['-c', join(folder, 'envoy.yaml'), '--use-dynamic-base-id', '--concurrency', '1', '--log-level', 'error'], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  });
}

export async function startPortkey(): Promise<Gateway> {
  const port = await freePort();
  return await start(port, (folder) =>
    spawn(process.execPath, [PORTKEY, '--headless', `--port=${port}`], {
      cwd: folder,
      env: { PATH: process.env['PATH'] ?? '', HOME: folder, NODE_ENV: 'production' },
      stdio: ['ignore', 'pipe', 'pipe'],
    }),
  );
}

/** The shipped Portkey configuration, as its client sends it. */
export function portkeyConfig(tollgate: string, key: string): string {
  const text = readShipped('portkey/config.json').replaceAll('127.0.0.1:8080', tollgate).replaceAll('TOLLGATE_KEY', key);
  const config = JSON.parse(text) as { before_request_hooks: { checks: { parameters: { timeout: number } }[] }[] };
  for (const hook of config.before_request_hooks) for (const check of hook.checks) check.parameters.timeout = 30_000;
  return JSON.stringify(config);
}

/** host:port of a base URL. */
export function addressOf(url: string): string {
  return new URL(url).host;
}

/** An address that nothing listens on. */
export async function deadAddress(): Promise<string> {
  return `127.0.0.1:${await freePort()}`;
}

function readShipped(path: string): string {
  return readFileSync(join(ROOT, 'deploy', path), 'utf8');
}

function placed(text: string, { tollgate, provider, cheaper }: Addresses, port: number): string {
  const moves: [string, string][] = [
    ['8080', tollgate],
    ['4000', provider],
    ['4001', cheaper],
    ['8000', `127.0.0.1:${port}`],
  ];
  return moves.reduce(
    (done, [from, to]) =>
      done.replaceAll(`127.0.0.1:${from}`, to).replaceAll(`address: 127.0.0.1, port_value: ${from} `, `address: 127.0.0.1, port_value: ${to.split(':')[1]} `),
    text,
  );
}

async function start(port: number, launch: (folder: string) => ChildProcess): Promise<Gateway> {
  const folder = mkdtempSync(join(tmpdir(), 'tollgate-gateway-'));
  mkdirSync(join(folder, 'logs'));
  const program = launch(folder);
  let log = '';
  for (const stream of [program.stdout, program.stderr]) stream?.on('data', (text: Buffer) => (log = (log + text.toString('utf8')).slice(-LOG_TAIL)));
  const url = `http://127.0.0.1:${port}`;
  const close = async (): Promise<void> => {
    await stop(program);
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    await eventually('the gateway answers', () => answers(url, program), START_TIMEOUT_MS);
  } catch (error) {
    await close();
    throw new Error(`the gateway did not start:\n${log}`, { cause: error });
  }
  return { url, close };
}

async function answers(url: string, program: ChildProcess): Promise<boolean> {
  if (program.exitCode !== null) throw new Error(`it ended with code ${program.exitCode}`);
  try {
    await fetch(url);
    return true;
  } catch {
    return false;
  }
}

async function stop(program: ChildProcess): Promise<void> {
  if (program.exitCode !== null || program.signalCode !== null) return;
  const gone = new Promise<void>((resolve) => program.once('exit', () => resolve()));
  const impatience = setTimeout(() => program.kill('SIGKILL'), STOP_TIMEOUT_MS);
  program.kill('SIGTERM');
  await gone;
  clearTimeout(impatience);
}

async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, '127.0.0.1', resolve));
  const { port } = probe.address() as AddressInfo;
  await new Promise<void>((resolve) => probe.close(() => resolve()));
  return port;
}
