/**
 * Makes a copy of dist/ that can be told to die between any two awaits: `node scripts/build-crash-tree.mjs <folder>`. Every `await x` of the
 * files named below becomes `(before(n), after(n, await x))`; the product itself stays free of it. A folder is named, not its files: a new file
 * is in it by itself. Writes the list of all points to <folder>/points.json. Refuses a suspension it cannot see through.
 */
import { copyFileSync, cpSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import ts from 'typescript';

const ROOT = resolve(import.meta.dirname, '..');
/** Where authorize, settle, release, extend, expiry, posting and the relay suspend. */
const SCOPE = [
  'libs/quota/',
  'libs/metering/application/',
  'libs/metering/postgres/',
  'libs/ledger/application/spend-ledger',
  'libs/ledger/application/journal',
  'libs/ledger/application/read-wallets',
  'libs/ledger/postgres/',
  'libs/platform/outbox/',
  'libs/platform/postgres/database',
  'apps/ledger-funding',
  'apps/api/src/v1/authorize/',
  'apps/api/src/v1/holds/',
  'apps/standalone/src/lock-fence',
];

function build(target) {
  mkdirSync(target, { recursive: true });
  cpSync(join(ROOT, 'dist'), join(target, 'dist'), { recursive: true });
  copyFileSync(join(ROOT, 'package.json'), join(target, 'package.json'));
  copyFileSync(join(ROOT, 'test/support/crash-points.js'), join(target, 'dist/crash-points.js'));
  symlinkSync(join(ROOT, 'node_modules'), join(target, 'node_modules'));
  const points = [];
  const files = readdirSync(join(ROOT, 'dist'), { recursive: true }).filter((file) => file.endsWith('.js') && SCOPE.some((scope) => file.startsWith(scope)));
  for (const file of files) {
    const source = readFileSync(join(ROOT, 'dist', file), 'utf8');
    const found = pointsOf(file, source);
    if (found.length === 0) continue;
    const door = `${'../'.repeat(file.split('/').length - 1)}crash-points.js`;
    // On the first line, so that the lines of a stack trace stay what they are.
    writeFileSync(join(target, 'dist', file), `import * as crashPoints from '${door.startsWith('.') ? door : `./${door}`}';${instrument(source, found)}`);
    points.push(...found.map(({ name, text }) => ({ name, text })));
  }
  const names = new Set(points.map(({ name }) => name));
  if (names.size !== points.length) throw new Error('two points have the same name');
  writeFileSync(join(target, 'points.json'), JSON.stringify(points, null, 1));
}

/** Every suspension of a file, outermost first. */
function pointsOf(file, source) {
  const tree = ts.createSourceFile(file, source, ts.ScriptTarget.ES2023, true);
  const found = [];
  const perFunction = new Map();
  const visit = (node, owner) => {
    const hidden =
      (ts.isForOfStatement(node) && node.awaitModifier) ||
      (ts.isVariableDeclarationList(node) && (node.flags & ts.NodeFlags.AwaitUsing) === ts.NodeFlags.AwaitUsing);
    if (hidden) throw new Error(`${file}: \`for await\` and \`await using\` suspend where no point can be put; teach this script first`);
    const inside = nameOf(node) ?? owner;
    if (ts.isAwaitExpression(node)) {
      const ordinal = (perFunction.get(inside) ?? 0) + 1;
      perFunction.set(inside, ordinal);
      const text = node.expression.getText(tree).replace(/\s+/g, ' ').slice(0, 80);
      found.push({ name: `${file.replace(/\.js$/, '.ts')} ${inside}#${ordinal}`, text, start: node.getStart(tree), end: node.getEnd() });
    }
    ts.forEachChild(node, (child) => visit(child, inside));
  };
  visit(tree, 'module');
  return found;
}

function nameOf(node) {
  if (ts.isMethodDeclaration(node) || ts.isGetAccessor(node) || ts.isConstructorDeclaration(node)) {
    const owner = ts.isClassLike(node.parent) ? `${node.parent.name?.text ?? ''}.` : '';
    return `${owner}${node.name?.getText() ?? 'constructor'}`;
  }
  return ts.isFunctionDeclaration(node) ? node.name?.text : undefined;
}

function instrument(source, points) {
  const inserts = points.flatMap(({ name, start, end }) => {
    const key = JSON.stringify(name);
    return [
      { at: start, order: start, text: `(crashPoints.before(${key}), crashPoints.after(${key}, ` },
      // Of two that end together the inner one, which starts later, is closed first.
      { at: end, order: -start, text: '))' },
    ];
  });
  inserts.sort((a, b) => a.at - b.at || a.order - b.order);
  let result = '';
  let done = 0;
  for (const { at, text } of inserts) {
    result += source.slice(done, at) + text;
    done = at;
  }
  return result + source.slice(done);
}

build(resolve(process.argv[2] ?? 'crash-tree'));
