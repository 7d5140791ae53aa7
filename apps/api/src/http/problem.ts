/**
 * Every failure leaves as RFC 9457 problem+json with a stable dotted code. What an unknown error says stays in the log: the caller gets
 * a 500 with its request id and nothing else.
 */
import { HttpException } from '@nestjs/common';
import { DomainError, type ErrorKind, type FieldProblem } from '#libs/kernel/index.js';

export interface Problem {
  readonly status: number;
  readonly code: string;
  readonly title: string;
  readonly detail: string;
  readonly errors: readonly FieldProblem[];
  readonly retryAfterMs: number | undefined;
  /** A bug of ours: logged with its stack. */
  readonly unexpected: boolean;
}

const STATUS: Record<ErrorKind, number> = {
  invalid: 400,
  unauthenticated: 401,
  forbidden: 403,
  not_found: 404,
  conflict: 409,
  too_large: 413,
  unsupported: 415,
  rate_limited: 429,
  unavailable: 503,
};

const TITLES: Record<number, string> = {
  400: 'Bad request',
  401: 'Not authenticated',
  403: 'Not allowed',
  404: 'Not found',
  405: 'Method not allowed',
  408: 'Request timed out',
  409: 'Conflict',
  413: 'Too large',
  414: 'URL too long',
  415: 'Unsupported media type',
  429: 'Too many requests',
  431: 'Headers too large',
  500: 'Internal error',
  503: 'Temporarily unavailable',
};

// Fastify's own refusals, by its error code; the rest of its 4xx answers are plain bad requests.
const FASTIFY_PROBLEMS: Record<string, { code: string; detail: string }> = {
  FST_ERR_CTP_BODY_TOO_LARGE: { code: 'request.too_large', detail: 'the body may have at most 8 MiB (8388608 bytes)' },
  FST_ERR_CTP_INVALID_MEDIA_TYPE: { code: 'request.unsupported_media_type', detail: 'send application/json, or application/x-ndjson where the route takes it' },
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: { code: 'request.invalid_length', detail: 'the body does not have the length that content-length announced' },
  FST_ERR_BAD_URL: { code: 'request.invalid_url', detail: 'the path is not valid percent-encoded UTF-8' },
  FST_ERR_MAX_PARAM_LENGTH: { code: 'request.invalid_url', detail: 'a path segment is too long' },
};
const DEFAULT_RETRY_AFTER_MS = 1_000;

/** The problem an error becomes. */
export function toProblem(error: unknown): Problem {
  if (error instanceof DomainError) {
    const status = STATUS[error.kind];
    const retryable = status === 429 || status === 503;
    return problem(status, error.code, error.publicMessage, error.errors, retryable ? (error.retryAfterMs ?? DEFAULT_RETRY_AFTER_MS) : undefined);
  }
  if (error instanceof HttpException) return fromHttp(error.getStatus(), error.cause);
  return fromHttp(statusOf(error), error);
}

/** The document of a problem, as it goes on the wire. */
export function problemDocument(found: Problem, requestId: string): Record<string, unknown> {
  return {
    type: `urn:tollgate:problem:${found.code}`,
    title: found.title,
    status: found.status,
    code: found.code,
    detail: found.detail,
    ...(found.errors.length > 0 ? { errors: found.errors } : {}),
    request_id: requestId,
  };
}

/** Whole seconds, at least one, as Retry-After takes them. */
export function retryAfterSeconds(retryAfterMs: number): string {
  return String(Math.max(1, Math.ceil(retryAfterMs / 1_000)));
}

function fromHttp(status: number, cause: unknown): Problem {
  const known = FASTIFY_PROBLEMS[codeOf(cause)];
  if (known) return problem(status, known.code, known.detail);
  switch (status) {
    case 404:
      return problem(404, 'route.not_found', 'there is no such route');
    case 408:
      return problem(408, 'request.timeout', 'the request was not received in time');
    case 503:
      return problem(503, 'server.stopping', 'this process is shutting down, try again', [], DEFAULT_RETRY_AFTER_MS);
    default:
      return status >= 400 && status < 500
        ? problem(status, 'request.invalid', 'the request could not be read')
        : { ...problem(500, 'server.error', 'an error on our side; quote request_id when you report it'), unexpected: true };
  }
}

function problem(status: number, code: string, detail: string, errors: readonly FieldProblem[] = [], retryAfterMs?: number): Problem {
  return { status, code, title: TITLES[status] ?? 'Error', detail, errors, retryAfterMs, unexpected: false };
}

function codeOf(error: unknown): string {
  const code = (error as { code?: unknown } | null | undefined)?.code;
  return typeof code === 'string' ? code : '';
}

/** Only Fastify's own errors may name their status; any other error is unexpected. */
function statusOf(error: unknown): number {
  const status = (error as { statusCode?: unknown } | null | undefined)?.statusCode;
  return codeOf(error).startsWith('FST_') && typeof status === 'number' ? status : 500;
}
