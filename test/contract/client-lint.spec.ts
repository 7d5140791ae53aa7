/** The lint rules we hand out, each run by its own tool on files that must pass and on files that must not. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describeWithRuff, RUFF } from '../support/ruff.js';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

const METERED = `import { withTollgate } from '@tollgate/client/openai';\nexport const wrap = withTollgate;\n`;
const MAKES_A_CLIENT = `import OpenAI from 'openai';\nexport const openai = new OpenAI();\n`;
const GOOD_SCRIPTS = { 'good.mjs': METERED, 'src/model-client.mjs': MAKES_A_CLIENT };
const BAD_SCRIPTS = {
  'default.mjs': MAKES_A_CLIENT,
  'named.mjs': `import { OpenAI as Client } from 'openai';\nexport const client = new Client();\n`,
  'deep.mjs': `import { OpenAI } from 'openai/client.mjs';\nexport const client = new OpenAI();\n`,
  'other.mjs': `import Anthropic from '@anthropic-ai/sdk';\nexport const client = new Anthropic();\n`,
  'again.mjs': `export { OpenAI } from 'openai';\n`,
};

describe('the lint rules against raw clients', () => {
  let folder: string;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'tollgate-lint-'));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  /** Names of the files that the tool complains about, each for a banned client and nothing else. */
  function flagged(files: Readonly<Record<string, string>>, command: string, args: readonly string[]): string[] {
    for (const [name, text] of Object.entries(files)) {
      mkdirSync(dirname(join(folder, name)), { recursive: true });
      writeFileSync(join(folder, name), text);
    }
    return Object.keys(files).filter((name) => {
      const { status, stdout, stderr } = spawnSync(command, [...args, name], { cwd: folder, encoding: 'utf8' });
      if (status === 0) return false;
      expect(stdout + stderr).toMatch(/nobody pays|carries the tenant/);
      return true;
    });
  }

  describe('ESLint', () => {
    const run = (files: Readonly<Record<string, string>>): string[] =>
      flagged(files, process.execPath, [join(ROOT, 'node_modules/eslint/bin/eslint.js'), '--config', join(ROOT, 'clients/lint/eslint.config.mjs')]);

    it('lets the metered client pass, and the one file that makes it', () => {
      expect(run(GOOD_SCRIPTS)).toEqual([]);
    });

    it('refuses every way to a raw client', () => {
      const dynamic = {
        'dynamic.mjs': `export const { OpenAI } = await import('openai');\n`,
        'require.cjs': `module.exports = require('@anthropic-ai/sdk');\n`,
      };
      expect(run({ ...BAD_SCRIPTS, ...dynamic })).toEqual([...Object.keys(BAD_SCRIPTS), ...Object.keys(dynamic)]);
    });
  });

  describe('oxlint', () => {
    const run = (files: Readonly<Record<string, string>>): string[] =>
      flagged(files, join(ROOT, 'node_modules/.bin/oxlint'), ['--config', join(ROOT, 'clients/lint/oxlintrc.json')]);

    it('lets the metered client pass, types, and the one file that makes it', () => {
      expect(run({ ...GOOD_SCRIPTS, 'types.ts': `import type OpenAI from 'openai';\nexport type Client = OpenAI;\n` })).toEqual([]);
    });

    it('refuses every import of a raw client', () => {
      expect(run(BAD_SCRIPTS)).toEqual(Object.keys(BAD_SCRIPTS));
    });
  });

  describeWithRuff('ruff', () => {
    const run = (files: Readonly<Record<string, string>>): string[] =>
      flagged(files, RUFF, ['check', '--no-cache', '--config', join(ROOT, 'clients/lint/ruff.toml')]);

    it('lets the metered client pass, and the one file that makes it', () => {
      const metered = `from tollgate import litellm_library, with_tollgate\n\nprint(with_tollgate, litellm_library.completion)\n`;
      expect(run({ 'good.py': metered, 'src/model_client.py': `import openai\n\nclient = openai.OpenAI()\n` })).toEqual([]);
    });

    it('refuses every way to a raw client', () => {
      const bad = {
        'attribute.py': `import openai\n\nclient = openai.OpenAI()\n`,
        'name.py': `from openai import AsyncOpenAI as Client\n\nclient = Client()\n`,
        'module.py': `import openai\n\nopenai.chat.completions.create(model="m", messages=[])\n`,
        'litellm_name.py': `from litellm import completion\n\ncompletion(model="m", messages=[])\n`,
        'litellm_module.py': `import litellm\n\nlitellm.acompletion(model="m", messages=[])\n`,
      };
      expect(run(bad)).toEqual(Object.keys(bad));
    });
  });
});
