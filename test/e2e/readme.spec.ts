/** A stranger copies the README line by line: every line must do what the README says it does. */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { eventually } from '../support/eventually.js';

const ADDRESS_IN_README = 'http://127.0.0.1:8080';
const READY_TIMEOUT_MS = 60_000;

function blocksOf(section: string, language: string): string[] {
  const text = readFileSync('README.md', 'utf8').split(`\n## ${section}\n`)[1]?.split('\n## ')[0] ?? '';
  return [...text.matchAll(/```(\w+)\n([\s\S]*?)```/g)].filter((match) => match[1] === language).map((match) => match[2] ?? '');
}

/** A shell that remembers what earlier blocks exported, as a terminal does. */
class Terminal {
  constructor(
    private readonly folder: string,
    private readonly address: string,
  ) {}

  run(block: string): string {
    const state = join(this.folder, 'exported');
    const script = `set -euo pipefail\ntouch ${state}\nsource ${state}\n${block.replaceAll(ADDRESS_IN_README, this.address)}\nexport -p > ${state}\n`;
    return execFileSync('bash', ['-c', script], { cwd: this.folder, encoding: 'utf8' });
  }

  /** Runs a block and holds it to its "# ->" lines; one that only reads is asked again, because posting takes a moment. */
  async holdToItsWord(block: string): Promise<void> {
    const promised = [...block.matchAll(/^# -> (.+)$/gm)].map((match) => match[1] ?? '');
    if (/-X P|export/.test(block)) {
      const output = this.run(block);
      expect(output).not.toContain('urn:tollgate:problem');
      for (const fragment of promised) expect(output).toContain(fragment);
      return;
    }
    await eventually(`the README's ${promised.join(' and ')}`, () => {
      const output = this.run(block);
      return promised.every((fragment) => output.includes(fragment));
    });
  }
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as AddressInfo;
  probe.close();
  await once(probe, 'close');
  return port;
}

describe('the README', () => {
  let server: ChildProcess;
  let terminal: Terminal;
  let folder: string;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'tollgate-readme-'));
    chmodSync(folder, 0o755);
    const port = await freePort();
    const address = `http://127.0.0.1:${port}`;
    const environment = { PATH: process.env['PATH'], PORT: String(port), LOG_LEVEL: 'warn' };
    // What `npm start` runs after its build, in a folder where nothing is yet.
    server = spawn(process.execPath, [resolve('dist/apps/standalone/main.js')], { cwd: folder, env: environment, stdio: ['ignore', 'ignore', 'inherit'] });
    const ready = async (): Promise<boolean> =>
      await fetch(`${address}/health/ready`).then(
        (response) => response.ok,
        () => false,
      );
    await eventually('the server is ready', ready, READY_TIMEOUT_MS);
    terminal = new Terminal(folder, address);
  }, READY_TIMEOUT_MS);

  afterAll(async () => {
    server.kill('SIGTERM');
    if (server.exitCode === null) await once(server, 'exit');
    rmSync(folder, { recursive: true, force: true });
  }, READY_TIMEOUT_MS);

  it('names npm ci, npm start and npm test as its two commands', () => {
    expect(blocksOf('Quick start', 'sh').map((block) => block.trim())).toEqual(['npm ci && npm start', 'npm ci && npm test']);
  });

  it('its first calls work as printed and come to the printed amounts', async () => {
    const blocks = blocksOf('First calls', 'sh');
    expect(blocks.length).toBeGreaterThan(3);
    expect(blocks.join('').match(/^# -> /gm)?.length).toBeGreaterThan(2);
    for (const block of blocks) await terminal.holdToItsWord(block);
  }, 60_000);
});
