/** What kind of failure it is; one filter (apps/api/src/http) turns kinds into HTTP statuses. */
export type ErrorKind = 'invalid' | 'unauthenticated' | 'forbidden' | 'not_found' | 'conflict' | 'too_large' | 'unsupported' | 'rate_limited' | 'unavailable';

export interface FieldProblem {
  /** Where: "credits.amount_usd", "[3].usage.input_tokens". */
  readonly path: string;
  /** The rule that was broken, a sentence without the caller's own value. */
  readonly message: string;
}

/** A failure that its caller is meant to see. `publicMessage` goes on the wire, `cause` and `details` to the log only. */
export class DomainError extends Error {
  readonly code: string;
  readonly kind: ErrorKind;
  readonly publicMessage: string;
  readonly errors: readonly FieldProblem[];
  readonly details: Readonly<Record<string, unknown>>;
  /** For kinds `rate_limited` and `unavailable`: what Retry-After says. */
  readonly retryAfterMs: number | undefined;

  constructor(input: {
    /** Stable dotted code, such as "idempotency.conflict". */
    code: string;
    kind: ErrorKind;
    publicMessage: string;
    errors?: readonly FieldProblem[];
    details?: Readonly<Record<string, unknown>>;
    retryAfterMs?: number;
    cause?: unknown;
  }) {
    super(`${input.code}: ${input.publicMessage}`, { cause: input.cause });
    this.name = 'DomainError';
    this.code = input.code;
    this.kind = input.kind;
    this.publicMessage = input.publicMessage;
    this.errors = input.errors ?? [];
    this.details = input.details ?? {};
    this.retryAfterMs = input.retryAfterMs;
  }
}

/** Thrown where an invariant of ours is broken: a bug, never a caller's mistake. */
export class InvariantError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'InvariantError';
  }
}

/** Asserts an invariant of ours. @throws InvariantError */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new InvariantError(message);
}
