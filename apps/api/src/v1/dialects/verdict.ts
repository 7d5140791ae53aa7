/**
 * An answer in the terms of HTTP gateways: a status, headers, a problem document. 402 says that money is missing (asking again does not
 * help), 429 that waiting does, 403 that this call may not be made at all. A known "no" is never a 5xx: Envoy and others take that for
 * "Tollgate is away" and may let the call pass.
 */
import type { z } from 'zod';
import type { Problem } from '../../http/problem.js';
import { retryAfterSeconds } from '../../http/problem.js';
import type { authorizeAnswer } from '../authorize/authorize.schemas.js';
import type { Outcome } from './ask.js';
import { encodedHeader } from './question-headers.js';

type ReasonCode = z.infer<typeof authorizeAnswer>['reason']['code'];

const TITLES = { 402: 'Payment required', 403: 'Not allowed', 429: 'Too many requests' } as const;

/** The status of a block. */
export function statusOfBlock(code: ReasonCode): keyof typeof TITLES {
  switch (code) {
    case 'insufficient_funds':
    case 'too_large':
    case 'budget_exhausted':
    case 'budget_downgrade':
    case 'threshold_downgrade':
      return 402;
    case 'in_flight_exhausted':
    case 'global_lease':
    case 'rate_limited':
    case 'concurrency_limited':
    case 'store_unavailable':
      return 429;
    case 'ok':
    case 'tenant_missing':
    case 'tenant_unknown':
    case 'tenant_suspended':
    case 'key_revoked':
    case 'model_not_allowed':
    case 'model_unpriced':
      return 403;
  }
}

export interface Verdict {
  readonly passes: boolean;
  /** 200, or why not. */
  readonly status: number;
  readonly headers: ReadonlyArray<readonly [string, string]>;
  /** What a refused client is shown; null where the call passes. */
  readonly problem: Problem | null;
}

export function verdictOf(outcome: Outcome): Verdict {
  if (outcome.kind === 'refused') return refusal(outcome.problem, []);
  const { answer } = outcome;
  const { code, message, retry_after_ms: retryAfterMs } = answer.reason;
  const headers = [
    header('decision', answer.decision),
    header('reason', code),
    header('model', answer.model),
    header('max-output-tokens', answer.max_output_tokens),
    header('hold-id', answer.hold?.hold_id),
    header('available-usd', answer.available_usd),
  ].flat();
  if (answer.decision !== 'block') return { passes: true, status: 200, headers, problem: null };
  const status = statusOfBlock(code);
  const problem: Problem = {
    status,
    code: `quota.${code}`,
    title: TITLES[status],
    detail: message,
    errors: [],
    retryAfterMs: retryAfterMs ?? undefined,
    unexpected: false,
  };
  return refusal(problem, headers);
}

/** A 404 of a tenant that the key may not see is a 403 here: the client of a gateway asked for no page. */
function refusal(problem: Problem, headers: Verdict['headers']): Verdict {
  const status = problem.status === 404 ? 403 : problem.status;
  const waits = problem.retryAfterMs === undefined ? [] : [['retry-after', retryAfterSeconds(problem.retryAfterMs)] as const];
  const said = headers.length > 0 ? headers : [...header('decision', 'block'), ...header('reason', problem.code)];
  return { passes: false, status, headers: [...said, ...waits], problem: { ...problem, status } };
}

function header(name: string, value: string | number | null | undefined): [string, string][] {
  return value === null || value === undefined ? [] : [[`x-tollgate-${name}`, encodedHeader(String(value))]];
}
