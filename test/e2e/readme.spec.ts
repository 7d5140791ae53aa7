/** A stranger copies the README line by line: every line must do what the README says it does. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { eventually } from '../support/eventually.js';
import { describeWithLiteLlm, startLiteLlmProxy } from '../support/litellm-proxy.js';
import { cleanUpPrograms, makeDataDir, startStandalone } from '../support/standalone.js';
import { scripted, startUpstream } from '../support/upstream.js';

const ADDRESS_IN_README = 'http://127.0.0.1:8080';
const START_TIMEOUT_MS = 120_000;
const CALLS_TIMEOUT_MS = 60_000;

function blocksOf(section: string, language: string): string[] {
  const text = readFileSync('README.md', 'utf8').split(`\n## ${section}\n`)[1]?.split('\n## ')[0] ?? '';
  return [...text.matchAll(/```(\w+)\n([\s\S]*?)```/g)].filter((match) => match[1] === language).map((match) => match[2] ?? '');
}

/** A shell that remembers what earlier blocks exported, as a terminal does; the one thing changed is the port. */
class Terminal {
  constructor(
    private readonly folder: string,
    private readonly address: string,
  ) {}

  run(block: string): string {
    const exported = join(this.folder, 'exported');
    const script = `set -euo pipefail\ntouch ${exported}\nsource ${exported}\n${block.replaceAll(ADDRESS_IN_README, this.address)}\nexport -p > ${exported}\n`;
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

let terminal: Terminal;

beforeAll(async () => {
  // A folder in which nothing is yet, as in a fresh clone; no admin key is given, so the server makes one.
  const folder = makeDataDir();
  const program = await startStandalone({ dataDir: join(folder, 'data'), environment: { TOLLGATE_ADMIN_KEY: '' } });
  terminal = new Terminal(folder, program.url);
}, START_TIMEOUT_MS);

afterAll(cleanUpPrograms, START_TIMEOUT_MS);

describe('the README', () => {
  it('names npm ci, npm start and npm test as its two commands', () => {
    expect(blocksOf('Quick start', 'sh').map((block) => block.trim())).toEqual(['npm ci && npm start', 'npm ci && npm test']);
  });

  it(
    'its first calls work as printed and come to the printed amounts',
    async () => {
      const blocks = ['First calls', 'Ask before a call', 'Be told'].flatMap((section) => blocksOf(section, 'sh'));
      expect(blocks.length).toBeGreaterThan(3);
      expect(blocks.join('').match(/^# -> /gm)?.length).toBeGreaterThan(2);
      for (const block of blocks) await terminal.holdToItsWord(block);
    },
    CALLS_TIMEOUT_MS,
  );
});

describeWithLiteLlm("the README's LiteLLM lines", () => {
  it(
    'connect a real proxy as printed: a call through it is in the report',
    async () => {
      for (const block of blocksOf('Connect LiteLLM', 'sh')) terminal.run(block);
      const [lines = ''] = blocksOf('Connect LiteLLM', 'yaml');
      const models = 'model_list:\n  - model_name: gpt-4o-mini\n    litellm_params: { model: openai/gpt-4o-mini, api_key: none }\n';
      const upstream = await startUpstream();
      const proxy = await startLiteLlmProxy({
        configuration: models + lines,
        webhookUrl: terminal.run('printf %s "$TOLLGATE_WEBHOOK_URL"'),
        ingestKey: terminal.run('printf %s "$TOLLGATE_INGEST_KEY"'),
        upstreamUrl: upstream.url,
      });
      try {
        const messages = [{ role: 'user', content: scripted({ usage: { input: 1_000, output: 100 } }) }];
        const answer = await proxy.post('/chat/completions', { model: 'gpt-4o-mini', messages, metadata: { tenant_id: 'acme' } });
        expect([answer.status, await answer.text()]).toEqual([200, expect.any(String)]);
        const report = 'curl -s "$TOLLGATE_URL/v1/reports/monthly-spend?tenant_id=acme" -H "authorization: Bearer $TOLLGATE_ADMIN_KEY"';
        // 1,000 x 0.15 + 100 x 0.60 dollars a million.
        await eventually('the call is in the report', () => terminal.run(report).includes('"cost_usd":"0.000210000"'), CALLS_TIMEOUT_MS);
      } finally {
        await proxy.close();
        await upstream.close();
      }
    },
    START_TIMEOUT_MS * 2,
  );
});
