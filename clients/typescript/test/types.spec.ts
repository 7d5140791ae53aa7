/** What the compiler promises a user of the package, asked of the compiler itself: the package, two files of a user and the README's example, compiled once. */
import { readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import ts from 'typescript';

const PACKAGE = join(import.meta.dirname, '..');
const IMPORTS = `import OpenAI from 'openai'; import { Tollgate } from './tollgate.js'; import { withTollgate } from './openai.js'; declare const tollgate: Tollgate;`;
const WITH_TENANT = `${IMPORTS}
  const openai = withTollgate(new OpenAI(), { tollgate, tenantId: () => 'acme', feature: 'summarize' });
  const answer: OpenAI.ChatCompletion = await openai.chat.completions.create({ model: 'gpt-4o', messages: [] });
  for await (const piece of await openai.chat.completions.create({ model: 'gpt-4o', messages: [], stream: true })) piece.choices[0]?.delta;
  await tollgate.authorize({ tenant_id: 'acme', model: 'gpt-4o' });
  export { answer };`;
/** One statement a line. */
const WITHOUT_TENANT = [
  `withTollgate(new OpenAI(), { tollgate, feature: 'summarize' });`,
  `withTollgate(new OpenAI(), { tollgate, tenantId: undefined });`,
  `await tollgate.authorize({ model: 'gpt-4o' });`,
  `await tollgate.authorize({ tenant_id: null, model: 'gpt-4o' });`,
];

describe('the types', () => {
  let problems: { file: string; line: number; text: string }[];

  beforeAll(() => {
    problems = compile({
      'readme.ts': exampleOf('README.md'),
      'with-tenant.ts': WITH_TENANT,
      'without-tenant.ts': [IMPORTS, ...WITHOUT_TENANT, 'export {};'].join('\n'),
    });
  }, 120_000);

  it('the package compiles on its own, without the types of Node', () => {
    expect(problems.filter(({ file }) => !file.endsWith('-tenant.ts') && file !== 'readme.ts')).toEqual([]);
  });

  it('the example of the README compiles', () => {
    expect(problems.filter(({ file }) => file === 'readme.ts')).toEqual([]);
  });

  it('a wrapper with a tenant compiles, and its calls keep the types of the official client', () => {
    expect(problems.filter(({ file }) => file === 'with-tenant.ts')).toEqual([]);
  });

  it('a wrapper or a question without a tenant does not compile', () => {
    const refused = problems.filter(({ file }) => file === 'without-tenant.ts');
    expect(refused.map(({ line }) => line)).toEqual(WITHOUT_TENANT.map((_, index) => index + 1));
    expect(refused.map(({ text }) => text).join('\n')).toMatch(/tenantId.*TenantSource.*tenant_id.*null/s);
  });
});

function exampleOf(readme: string): string {
  const block = /```ts\n([\s\S]*?)```/.exec(readFileSync(join(PACKAGE, readme), 'utf8'))?.[1] ?? '';
  return block.replace("'@tollgate/client'", "'./index.js'").replace("'@tollgate/client/openai'", "'./openai.js'");
}

function compile(samples: Readonly<Record<string, string>>): { file: string; line: number; text: string }[] {
  const configuration = ts.readConfigFile(join(PACKAGE, 'tsconfig.json'), (path) => ts.sys.readFile(path));
  const { fileNames, options } = ts.parseJsonConfigFileContent(configuration.config, ts.sys, PACKAGE);
  const sampleFiles = new Map(Object.entries(samples).map(([name, text]) => [join(PACKAGE, 'src', name), text]));
  const host = ts.createCompilerHost({ ...options, noEmit: true });
  const { readFile, fileExists } = host;
  host.readFile = (file) => sampleFiles.get(file) ?? readFile(file);
  host.fileExists = (file) => sampleFiles.has(file) || fileExists(file);
  const program = ts.createProgram([...fileNames, ...sampleFiles.keys()], { ...options, noEmit: true }, host);
  return ts.getPreEmitDiagnostics(program).map(({ file, start, messageText }) => ({
    file: file === undefined ? '' : basename(file.fileName),
    line: file === undefined || start === undefined ? 0 : file.getLineAndCharacterOfPosition(start).line,
    text: ts.flattenDiagnosticMessageText(messageText, '\n'),
  }));
}
