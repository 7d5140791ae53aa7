import { StandardSchemaValidationPipe } from '@nestjs/common';
import { DomainError, type FieldProblem } from '#libs/kernel/index.js';

interface Issue {
  readonly message: string;
  readonly path?: ReadonlyArray<PropertyKey | { readonly key: PropertyKey }> | undefined;
}

// A body with thousands of faults is answered with the first ones: the answer must not outgrow the question.
const MAX_REPORTED_PROBLEMS = 50;
const MAX_PATH_LENGTH = 200;

/** The global pipe behind `@Body({ schema })`, `@Query({ schema })` and `@Param(..., { schema })`; without it they check nothing. */
export function createValidationPipe(): StandardSchemaValidationPipe {
  return new StandardSchemaValidationPipe({ exceptionFactory: (issues) => invalidRequest(fieldProblems(issues)) });
}

/** The 400 that names every broken field. */
export function invalidRequest(errors: readonly FieldProblem[]): DomainError {
  return new DomainError({ code: 'request.invalid', kind: 'invalid', publicMessage: 'the request does not fit the schema of this route', errors });
}

/** The field problems of zod issues; an unknown field is named in its path. */
export function fieldProblems(issues: readonly Issue[]): FieldProblem[] {
  return issues
    .slice(0, MAX_REPORTED_PROBLEMS)
    .flatMap((issue) => {
      const path = (issue.path ?? []).map((segment) => (typeof segment === 'object' ? segment.key : segment));
      const unknown = unrecognizedKeys(issue);
      if (unknown === null) return [{ path: printPath(path), message: issue.message }];
      return unknown.map((key) => ({ path: printPath([...path, key]), message: 'unknown field' }));
    })
    .slice(0, MAX_REPORTED_PROBLEMS);
}

function unrecognizedKeys(issue: Issue): readonly string[] | null {
  const { code, keys } = issue as { code?: unknown; keys?: unknown };
  return code === 'unrecognized_keys' && Array.isArray(keys) ? (keys as string[]) : null;
}

/** ["results", 3, "usage"] is "results[3].usage". Keys are the caller's text: cut, and without control characters. */
function printPath(path: readonly PropertyKey[]): string {
  const text = path.map((segment, index) => (typeof segment === 'number' ? `[${segment}]` : `${index === 0 ? '' : '.'}${String(segment)}`)).join('');
  return text.replaceAll(/[\p{C}]/gu, '?').slice(0, MAX_PATH_LENGTH);
}
