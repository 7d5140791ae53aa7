/**
 * A real LiteLLM proxy for a test file, without a database, on a free port of 127.0.0.1, reporting to a Tollgate. It runs the
 * configuration that we ship (deploy/litellm/config.yaml), so that what the README tells users to do is what is tested.
 * Where scripts/litellm-venv.sh has not made its environment, `describeWithLiteLlm` marks its tests as not run and the closing line of
 * the run names them (no-skip-reporter.js; a failure where the run requires Python).
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { eventually } from './eventually.js';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const PROGRAM = join(ROOT, '.venv-litellm/bin/litellm');
const CONFIG = join(ROOT, 'deploy/litellm/config.yaml');
/** Importing LiteLLM alone takes ten seconds on a slow machine. */
const START_TIMEOUT_MS = 120_000;
const STOP_TIMEOUT_MS = 10_000;
const LOG_TAIL = 4_000;

export const describeWithLiteLlm = existsSync(PROGRAM) ? describe : describe.skip;

export interface LiteLlmProxy {
  readonly url: string;
  /** Sends one call as an application would. */
  post(path: string, body: unknown, options?: { headers?: Record<string, string>; signal?: AbortSignal }): Promise<Response>;
  close(): Promise<void>;
}

const MASTER_KEY = 'sk-litellm-of-this-test';

export async function startLiteLlmProxy(input: {
  /** The webhook that gets the reports. */ webhookUrl: string;
  ingestKey: string;
  upstreamUrl: string;
  /** Text of a configuration other than the one we ship. */
  configuration?: string;
  /** Files that stand beside the configuration, by name: LiteLLM loads callbacks from there. */
  files?: Readonly<Record<string, string>>;
  environment?: Readonly<Record<string, string>>;
}): Promise<LiteLlmProxy> {
  const folder = mkdtempSync(join(tmpdir(), 'tollgate-litellm-'));
  const config = join(folder, 'config.yaml');
  writeFileSync(config, withCache(input.configuration ?? readFileSync(CONFIG, 'utf8')));
  for (const [name, text] of Object.entries(input.files ?? {})) writeFileSync(join(folder, name), text);
  const port = await freePort();
  const proxy = spawn(PROGRAM, ['--config', config, '--host', '127.0.0.1', '--port', String(port), '--telemetry', 'False'], {
    cwd: folder,
    env: {
      PATH: process.env['PATH'] ?? '',
      HOME: folder,
      TOLLGATE_WEBHOOK_URL: input.webhookUrl,
      TOLLGATE_INGEST_KEY: input.ingestKey,
      LITELLM_MASTER_KEY: MASTER_KEY,
      OPENAI_API_KEY: 'none',
      OPENAI_BASE_URL: `${input.upstreamUrl}/v1`,
      ANTHROPIC_API_KEY: 'none',
      ANTHROPIC_API_BASE: input.upstreamUrl,
      // No price list from the network.
      LITELLM_LOCAL_MODEL_COST_MAP: 'True',
      // Flushes five times as often as usual, so that a configuration that loses reports loses them in a short test as well.
      DEFAULT_FLUSH_INTERVAL_SECONDS: '1',
      ...input.environment,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const log = tailOf(proxy);
  const url = `http://127.0.0.1:${port}`;
  const close = async (): Promise<void> => {
    await stop(proxy);
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    await eventually('the LiteLLM proxy answers', () => answers(`${url}/health/liveliness`, proxy), START_TIMEOUT_MS);
  } catch (error) {
    await close();
    throw new Error(`the LiteLLM proxy did not start:\n${log()}`, { cause: error });
  }
  const post: LiteLlmProxy['post'] = (path, body, options = {}) =>
    fetch(url + path, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${MASTER_KEY}`, ...options.headers },
      body: JSON.stringify(body),
      ...(options.signal ? { signal: options.signal } : {}),
    });
  return { url, post, close };
}

/** What we ship leaves LiteLLM's cache off; the test switches it on per call. */
function withCache(shipped: string): string {
  const withCache = shipped.replace(/^litellm_settings:$/m, 'litellm_settings:\n  cache: true\n  cache_params: {type: local, mode: default_off}');
  if (withCache === shipped) throw new Error(`${CONFIG} has no litellm_settings`);
  return withCache;
}

async function answers(url: string, proxy: ChildProcess): Promise<boolean> {
  if (proxy.exitCode !== null) throw new Error(`it ended with code ${proxy.exitCode}`);
  try {
    return (await fetch(url)).ok;
  } catch {
    return false;
  }
}

function tailOf(proxy: ChildProcess): () => string {
  let tail = '';
  const take = (text: Buffer): void => {
    tail = (tail + text.toString('utf8')).slice(-LOG_TAIL);
  };
  proxy.stdout?.on('data', take);
  proxy.stderr?.on('data', take);
  return () => tail;
}

async function stop(proxy: ChildProcess): Promise<void> {
  if (proxy.exitCode !== null || proxy.signalCode !== null) return;
  const gone = new Promise<void>((resolve) => proxy.once('exit', () => resolve()));
  const impatience = setTimeout(() => proxy.kill('SIGKILL'), STOP_TIMEOUT_MS);
  proxy.kill('SIGTERM');
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
