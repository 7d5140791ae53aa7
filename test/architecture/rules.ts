/**
 * What the import checker cannot see. Each rule says why and what to do instead, and carries a sample that it must flag,
 * so that a rule which stopped working is itself a failing test.
 */
import ts from 'typescript';
import { readOurs, sourceFiles, type Finding, type SourceFile } from './source-tree.js';

export interface Rule {
  readonly name: string;
  readonly applies: (file: SourceFile) => boolean;
  readonly check: (file: SourceFile) => Finding[];
  readonly bad: { readonly path: string; readonly text: string };
}

const isCode = (file: SourceFile): boolean => /\.(ts|js|mjs)$/.test(file.path);
const isProduct = (file: SourceFile): boolean => /^(libs|apps|migrations)\/.*\.ts$/.test(file.path);
const isRuleBook = (file: SourceFile): boolean => file.path.startsWith('test/architecture/');

const MAX_FILE_LINES = 400;
const MAX_FUNCTION_LINES = 70;
/** Users copy the LiteLLM hook beside their configuration as ONE file: it may not be split. */
const ONE_FILE_BY_CONTRACT = 'clients/python/tollgate_litellm.py';

const fileLength: Rule = {
  name: `a file has at most ${MAX_FILE_LINES} lines`,
  applies: (file) => /\.(ts|js|mjs|py|lua)$/.test(file.path) && file.path !== ONE_FILE_BY_CONTRACT,
  check: (file) =>
    file.lineCount > MAX_FILE_LINES
      ? [{ line: MAX_FILE_LINES, message: `${file.lineCount} lines: it holds more than one idea. Split it by idea, not by size.` }]
      : [],
  bad: { path: 'libs/ledger/domain/long.ts', text: '\n'.repeat(MAX_FILE_LINES + 1) },
};

function isSuite(node: ts.Node): boolean {
  return ts.isCallExpression(node.parent) && node.parent.expression.getText().startsWith('describe');
}

const functionLength: Rule = {
  name: `a function has at most ${MAX_FUNCTION_LINES} lines`,
  // A migration is one long statement; a describe block is a chapter, not a function.
  applies: (file) => isCode(file) && !file.path.startsWith('migrations/'),
  check: (file) =>
    file.findNodes((node) => {
      if (!ts.isFunctionLike(node) || isSuite(node)) return null;
      const lines = file.syntax.getLineAndCharacterOfPosition(node.end).line + 1 - file.lineOf(node) + 1;
      return lines > MAX_FUNCTION_LINES
        ? `a function of ${lines} lines cannot be read at once. Name its steps: keep the ifs here, move the work into functions.`
        : null;
    }),
  bad: { path: 'libs/ledger/domain/long.ts', text: `function burn() {\n${'\n'.repeat(MAX_FUNCTION_LINES)}}` },
};

const BANNED_WORDS: Record<string, string> = {
  util: 'the noun it works on (money.ts, rfc3339.ts)',
  helper: 'what it does (openTestDatabase, shiftTimes)',
  common: 'the context that owns it, or kernel',
  manager: 'the one verb it performs (post-spend)',
  misc: 'two files with names',
  v2: 'the old name: replace the old code instead of keeping both',
};

const namesOfFiles: Rule = {
  name: 'a file name is kebab-case and says what is inside',
  applies: (file) => /^(libs|apps|migrations|test|bench|scripts)\//.test(file.path),
  check: (file) => {
    const name = file.path.slice(file.path.lastIndexOf('/') + 1);
    const banned = Object.keys(BANNED_WORDS).find((word) => new RegExp(`(^|[-./])${word}s?([-.]|$)`).test(file.path.replaceAll('/', '.')));
    if (banned) return [{ line: 1, message: `"${banned}" says nothing about the content. Use ${BANNED_WORDS[banned]}.` }];
    const kebab = /^[a-z0-9]+([-.][a-z0-9]+)*$/.test(name) || name === 'README.md' || name.startsWith('.');
    return kebab ? [] : [{ line: 1, message: 'file names are kebab-case, so that the same name is found on every file system.' }];
  },
  bad: { path: 'libs/ledger/domain/lot-helpers.ts', text: '' },
};

const BANNED_IDENTIFIERS: Record<string, string> = {
  parseFloat: 'a binary float cannot hold 0.1: parseUsd or parsePrice of the kernel read decimal text exactly',
  toFixed: 'rounds a float: formatUsd or formatPrice of the kernel print money, String() prints a count',
  forwardRef: 'hides an import cycle: move the shared part down, or pass a port in',
  synchronize: 'lets an ORM change tables: write a migration',
};

const bannedIdentifiers: Rule = {
  name: 'a banned identifier names its replacement',
  applies: (file) => isCode(file) && !isRuleBook(file),
  check: (file) =>
    file.findNodes((node) => {
      if (!ts.isIdentifier(node)) return null;
      const reason = Object.hasOwn(BANNED_IDENTIFIERS, node.text) ? BANNED_IDENTIFIERS[node.text] : undefined;
      if (reason) return `${node.text}: ${reason}.`;
      const declared = ts.isClassDeclaration(node.parent) || ts.isFunctionDeclaration(node.parent) || ts.isInterfaceDeclaration(node.parent);
      const word = declared && node.parent.name === node ? /(util|helper|manager|misc|v2)s?$/i.exec(node.text)?.[1]?.toLowerCase() : undefined;
      return word ? `${node.text}: "${word}" says nothing. Use ${BANNED_WORDS[word]}.` : null;
    }),
  bad: { path: 'libs/ledger/domain/lot.ts', text: 'const left = (1.5).toFixed(2);' },
};

const ONE_PLACE: { what: string; matches: (node: ts.Node) => boolean; only: RegExp; instead: string }[] = [
  {
    what: 'process.env',
    matches: (node) => ts.isPropertyAccessExpression(node) && node.getText() === 'process.env',
    only: /^(libs\/platform\/config\/|apps\/[^/]+\/main\.ts$)/,
    instead:
      'settings are validated once, in libs/platform/config: add a field to Config and take it in the constructor (a main.ts may hand process.env to loadConfig)',
  },
  {
    what: 'Date.now()',
    matches: (node) => ts.isPropertyAccessExpression(node) && node.getText() === 'Date.now',
    only: /^libs\/kernel\/clock\.ts$/,
    instead: 'take a Clock of the kernel, so that a test can stop the time (process.hrtime.bigint() measures a duration)',
  },
  {
    what: 'new Date() without an argument',
    matches: (node) => ts.isNewExpression(node) && node.expression.getText() === 'Date' && (node.arguments?.length ?? 0) === 0,
    only: /^libs\/kernel\/clock\.ts$/,
    instead: 'take a Clock of the kernel and ask it for now()',
  },
  {
    what: 'Math.random',
    matches: (node) => ts.isPropertyAccessExpression(node) && node.getText() === 'Math.random',
    only: /^$/,
    instead: 'ids come from newUuid and secrets from node:crypto; a test that needs variety uses fast-check, which prints its seed',
  },
];

const onePlace: Rule = {
  name: 'the environment, the time and chance are read in one place',
  applies: (file) => isProduct(file) || /^test\/(integration|contract|model|migration)\//.test(file.path),
  check: (file) =>
    file.findNodes((node) => {
      const rule = ONE_PLACE.find((candidate) => candidate.matches(node) && !candidate.only.test(file.path));
      return rule ? `${rule.what}: ${rule.instead}.` : null;
    }),
  bad: { path: 'libs/ledger/application/post-spend.ts', text: 'const at = new Date();' },
};

const MONEY_NAME = /(usd|nano|femto|price|charge|cost|balance|receivable)$/i;

const moneyIsBigint: Rule = {
  name: 'money is never typed number',
  // A gateway's payload is read as it comes (they send floats) and converted at once by nanoFromGatewayNumber.
  applies: (file) => /^(libs|apps)\/.*\.ts$/.test(file.path) && !file.path.startsWith('libs/metering/gateways/'),
  check: (file) =>
    file.findNodes((node) => {
      const typed = ts.isPropertySignature(node) || ts.isPropertyDeclaration(node) || ts.isParameter(node) || ts.isVariableDeclaration(node);
      if (typed && node.type && MONEY_NAME.test(node.name.getText()) && /\bnumber\b/.test(node.type.getText()))
        return `${node.name.getText()} is money: a number loses nano-dollars above 2^53. Use Nano (or FemtoPrice for a price per unit).`;
      if (ts.isPropertyAssignment(node) && /_(usd|nano)$/.test(node.name.getText()) && /^z(\.coerce)?\.(number|int)\(/.test(node.initializer.getText()))
        return `${node.name.getText()} on the wire is a decimal string: a JSON number has been through a float already. Use the money schema.`;
      if (!file.isTest && ts.isCallExpression(node) && node.expression.getText() === 'Number' && /(nano|usd|femto)\b/i.test(node.arguments[0]?.getText() ?? ''))
        return `Number(${node.arguments[0]?.getText()}) turns money into a float. Calculate in bigint and print with formatUsd.`;
      return null;
    }),
  bad: { path: 'libs/ledger/domain/lot.ts', text: 'interface Lot { remainingNano: number }' },
};

let relations: ReadonlySet<string> | undefined;

/** Every `schema.name` that a migration makes. */
function knownRelations(): ReadonlySet<string> {
  relations ??= new Set(
    sourceFiles('migrations').flatMap((file) =>
      [...file.text.matchAll(/CREATE (?:TABLE|VIEW|FUNCTION|SEQUENCE)\s+(\w+\.\w+)/g)].map((match) => match[1] ?? ''),
    ),
  );
  return relations;
}

const SCHEMA_NAME = /\b(tenancy|pricing|metering|ledger|quota|billing|reporting|alerting|platform|public)\.([a-z_][a-z0-9_]*)/g;
const SQL_KEYWORD = /\b(SELECT|INSERT|UPDATE|DELETE|FROM|JOIN|TRUNCATE|ALTER|CREATE|DROP|CALL|EXISTS)\b/;

const ownSchemaOnly: Rule = {
  name: 'SQL names only the schema of its own context',
  applies: (file) => /^(libs|apps)\/.*\.ts$/.test(file.path),
  check: (file) =>
    file.findNodes((node) => {
      const isText = ts.isStringLiteral(node) || ts.isNoSubstitutionTemplateLiteral(node) || ts.isTemplateExpression(node);
      if (!isText) return null;
      const text = node.getText();
      for (const [name, schema = ''] of text.matchAll(SCHEMA_NAME)) {
        if (schema === file.context || (schema === 'public' && file.context === 'reporting')) continue;
        if (knownRelations().has(name) || SQL_KEYWORD.test(text))
          return `SQL of ${file.context ?? 'an app'} names ${name}: ${schema} could then never change its tables. Ask #libs/${schema}/index.js, or take part through a port.`;
      }
      return null;
    }),
  bad: { path: 'libs/reporting/postgres/report.ts', text: 'const sql = `SELECT * FROM ledger.lot`;' },
};

const noSkippedTests: Rule = {
  name: 'no test is skipped, focused or left to do',
  // test/support decides once whether Redis and Python are there; the closing line of the run names what did not run.
  applies: (file) => isCode(file) && !file.path.startsWith('test/support/') && !isRuleBook(file),
  check: (file) =>
    file.findNodes((node) => {
      if (
        ts.isPropertyAccessExpression(node) &&
        /^(it|test|describe)(\.each)?$/.test(node.expression.getText()) &&
        /^(skip|only|todo|failing)$/.test(node.name.text)
      )
        return `${node.getText()}: a test that does not run proves nothing. Fix it, or delete it with the reason in the commit.`;
      return ts.isCallExpression(node) && /^(xit|xtest|xdescribe|fit|fdescribe)$/.test(node.expression.getText())
        ? 'skips or focuses a test: fix it or delete it.'
        : null;
    }),
  bad: { path: 'libs/ledger/domain/lot.spec.ts', text: "it.skip('burns', () => {});" },
};

// Written in halves so that this file does not flag itself.
const LEFT_OVER = new RegExp(['TO' + 'DO\\b', 'FIX' + 'ME\\b', 'XX' + 'X\\b', '(eslint|oxlint)-dis' + 'able', '@ts-(ign' + 'ore|noch' + 'eck)'].join('|'));
const ELSEWHERE = new RegExp(
  ['/wo' + 'rk/', '\\bbri' + 'ef\\.md', '\\b(contract|architecture|correctness|gateways|finops|performance|style|peers)\\.' + 'md'].join('|'),
);

const nothingLeftOver: Rule = {
  name: 'nothing is left to do, switched off, or explained by a page outside this repository',
  applies: (file) => !isRuleBook(file),
  check: (file) => [
    ...(isCode(file)
      ? file.findLines(LEFT_OVER, (match) => `"${match}": do it now, or open an issue and delete the note; a switched-off check checks nothing.`)
      : []),
    ...file.findLines(ELSEWHERE, (match) => `"${match}" is not in this repository: a reader cannot follow it. State the rule itself.`),
  ],
  bad: { path: 'libs/ledger/domain/lot.ts', text: '// TO' + 'DO: expiry' },
};

export const RULES: readonly Rule[] = [
  fileLength,
  functionLength,
  namesOfFiles,
  bannedIdentifiers,
  onePlace,
  moneyIsBigint,
  ownSchemaOnly,
  noSkippedTests,
  nothingLeftOver,
];

/** Committed checksums of merged migrations: file name -> SHA-256. */
export function sealedMigrations(): Record<string, string> {
  return JSON.parse(readOurs('test/architecture/migration-checksums.json')) as Record<string, string>;
}
