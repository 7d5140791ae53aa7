/**
 * Every failure as a class of its own, so that a caller can tell "the budget says no" from "Tollgate cannot be reached" from "I called it
 * wrongly" without reading messages. All extend TollgateError.
 */
import type { ReasonCode } from './wire.js';

export class TollgateError extends Error {
  override readonly name: string = 'TollgateError';
}

/** One field that the API refused. */
export interface FieldError {
  readonly path: string;
  readonly message: string;
}

/** Tollgate answered with a problem document (RFC 9457). */
export class TollgateApiError extends TollgateError {
  override readonly name = 'TollgateApiError';
  readonly status: number;
  /** Stable and dotted, for instance `hold.already_ended`. */
  readonly code: string;
  readonly errors: readonly FieldError[];
  readonly requestId: string | null;
  readonly retryAfterMs: number | null;

  constructor(problem: { status: number; code: string; detail: string; errors: readonly FieldError[]; requestId: string | null; retryAfterMs: number | null }) {
    super(`${problem.code}: ${problem.detail}`);
    this.status = problem.status;
    this.code = problem.code;
    this.errors = problem.errors;
    this.requestId = problem.requestId;
    this.retryAfterMs = problem.retryAfterMs;
  }
}

/** No answer in time, no connection, or an answer that is none. */
export class TollgateUnreachableError extends TollgateError {
  override readonly name = 'TollgateUnreachableError';
}

/** No tenant where one is required. Thrown outside production only: there the call goes on under `unknown`. */
export class TollgateTenantError extends TollgateError {
  override readonly name = 'TollgateTenantError';
}

/** A call that costs money and that this wrapper does not measure; it was not made. */
export class TollgateUnmeteredError extends TollgateError {
  override readonly name = 'TollgateUnmeteredError';
}

/** The call was refused before anything was sent to the model. */
export class TollgateBlockedError extends TollgateError {
  override readonly name = 'TollgateBlockedError';
  /** What to answer one's own caller: 402 for money, 429 where waiting helps, 403 for who and what, 503 without a decision. */
  readonly status: 402 | 403 | 429 | 503;
  readonly code: ReasonCode;
  readonly retryAfterMs: number | null;
  readonly tenantId: string;

  constructor(refusal: { code: ReasonCode; message: string; retryAfterMs: number | null; tenantId: string }) {
    super(`${refusal.code}: ${refusal.message}`);
    this.code = refusal.code;
    this.status = statusOf(refusal.code, refusal.retryAfterMs);
    this.retryAfterMs = refusal.retryAfterMs;
    this.tenantId = refusal.tenantId;
  }
}

const MONEY: ReadonlySet<string> = new Set(['insufficient_funds', 'too_large', 'budget_exhausted', 'threshold_downgrade', 'budget_downgrade']);
const TRY_LATER: ReadonlySet<string> = new Set(['in_flight_exhausted', 'rate_limited', 'concurrency_limited']);
const WHO_AND_WHAT: ReadonlySet<string> = new Set([
  'tenant_missing',
  'tenant_unknown',
  'tenant_suspended',
  'key_revoked',
  'model_not_allowed',
  'model_unpriced',
]);

function statusOf(code: ReasonCode, retryAfterMs: number | null): 402 | 403 | 429 | 503 {
  if (code === 'store_unavailable') return 503;
  if (MONEY.has(code)) return 402;
  if (TRY_LATER.has(code)) return 429;
  // A reason that is newer than this client: waiting helps where the server says how long.
  return retryAfterMs !== null && !WHO_AND_WHAT.has(code) ? 429 : 403;
}
