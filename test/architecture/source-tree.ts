/** The repository as the architecture tests read it: every text file that is ours, TypeScript parsed once. */
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

export const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/** Not in the repository. */
const IGNORED = /^(node_modules|dist|data|coverage|\.git|\.gateways|\.venv.*|__pycache__|bench\/results)$/;
/** Generated, or recorded from others: not held to our rules. */
const NOT_WRITTEN_HERE = /^(libs\/pricing\/catalogue\/.*\.json|test\/fixtures|clients\/typescript\/src\/api-types\.ts)$/;
const TEXT = /(\.(ts|js|mjs|json|md|py|lua|sql|ya?ml|sh|toml|txt)|Dockerfile|\.ci\/run)$/;

/** A problem: where, and why it matters with what to do instead. */
export interface Finding {
  readonly line: number;
  readonly message: string;
}

/** One text file; `path` is relative to the repository root, with `/`. */
export class SourceFile {
  private parsed: ts.SourceFile | undefined;

  constructor(
    readonly path: string,
    readonly text: string,
  ) {}

  /** `libs/ledger/postgres/x.ts` is in context `ledger`; files outside libs are in none. */
  get context(): string | null {
    return /^libs\/([^/]+)\//.exec(this.path)?.[1] ?? null;
  }

  get isTest(): boolean {
    return this.path.endsWith('.spec.ts');
  }

  get lineCount(): number {
    return this.text.split('\n').length - 1;
  }

  get syntax(): ts.SourceFile {
    this.parsed ??= ts.createSourceFile(this.path, this.text, ts.ScriptTarget.Latest, true);
    return this.parsed;
  }

  lineOf(node: ts.Node): number {
    return this.syntax.getLineAndCharacterOfPosition(node.getStart(this.syntax)).line + 1;
  }

  /** Every node of the syntax tree for which `pick` gives a message. */
  findNodes(pick: (node: ts.Node) => string | null): Finding[] {
    const found: Finding[] = [];
    const visit = (node: ts.Node): void => {
      const message = pick(node);
      if (message !== null) found.push({ line: this.lineOf(node), message });
      ts.forEachChild(node, visit);
    };
    visit(this.syntax);
    return found;
  }

  /** Every line that matches. */
  findLines(pattern: RegExp, message: (match: string) => string): Finding[] {
    return this.text.split('\n').flatMap((line, index) => {
      const match = pattern.exec(line);
      return match ? [{ line: index + 1, message: message(match[0]) }] : [];
    });
  }
}

/** Directories directly under `folder`, as paths from the root. */
export function foldersOf(folder: string): string[] {
  return readdirSync(join(ROOT, folder), { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => (folder === '.' ? entry.name : `${folder}/${entry.name}`))
    .filter((path) => !IGNORED.test(path));
}

export function readOurs(path: string): string {
  return readFileSync(join(ROOT, path), 'utf8');
}

/** Every text file of ours. */
export function sourceFiles(folder = '.'): SourceFile[] {
  const found: SourceFile[] = [];
  for (const entry of readdirSync(join(ROOT, folder), { withFileTypes: true })) {
    const path = relative('.', join(folder, entry.name));
    if (IGNORED.test(path) || IGNORED.test(entry.name) || NOT_WRITTEN_HERE.test(path)) continue;
    if (entry.isDirectory()) found.push(...sourceFiles(path));
    else if (TEXT.test(path) && path !== 'package-lock.json') found.push(new SourceFile(path, readOurs(path)));
  }
  return found;
}
