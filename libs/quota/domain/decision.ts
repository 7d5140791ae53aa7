/** What a caller is told. A denial is an answer, not an error. */
import type { Nano } from '#libs/kernel/index.js';
import type { Hold } from './hold.js';

export const REASON_CODES = [
  'ok',
  'insufficient_funds',
  'in_flight_exhausted',
  'too_large',
  'tenant_missing',
  'tenant_unknown',
  'tenant_suspended',
  'model_unpriced',
  'store_unavailable',
] as const;
export type ReasonCode = (typeof REASON_CODES)[number];
export type Verdict = 'allow' | 'block';

export interface Reason {
  readonly code: ReasonCode;
  readonly message: string;
  readonly scope: 'tenant' | 'model';
  /** A hint when to ask again; null where waiting does not help. */
  readonly retryAfterMs: number | null;
}

export interface Estimate {
  readonly costNano: Nano;
  readonly basis: 'given' | 'learned' | 'default';
  readonly priceVersion: string | null;
  readonly inputTokens: number;
  readonly maxOutputTokens: number;
}

/** The wallet as it counts for this decision. */
export interface WalletLimit {
  /** Null: nothing limits it. */
  readonly limitNano: Nano | null;
  readonly usedNano: Nano;
  readonly heldNano: Nano;
  readonly remainingNano: Nano | null;
  readonly enforced: boolean;
  readonly binding: boolean;
}

export interface Decision {
  readonly verdict: Verdict;
  readonly reason: Reason;
  readonly hold: Hold | null;
  readonly estimate: Estimate | null;
  readonly wallet: WalletLimit | null;
  readonly shadow: boolean;
  /** What an enforcing tenant would have been told; null where it is the same. */
  readonly would: Verdict | null;
  readonly degraded: boolean;
  readonly replayed: boolean;
}

const MESSAGES: Record<ReasonCode, string> = {
  ok: 'the call may run',
  insufficient_funds: 'the prepaid balance is used up; add credit',
  in_flight_exhausted: 'running calls hold what is left of the balance; try again when one of them ends',
  too_large: 'this call may cost more than what is left of the balance; lower max_output_tokens or add credit',
  tenant_missing: 'no tenant was named; the call runs and is booked under `unknown`',
  tenant_unknown: 'this tenant is not registered',
  tenant_suspended: 'this tenant is suspended',
  model_unpriced: 'this model has no price, so nothing can be promised for it',
  store_unavailable: 'the quota state cannot be reached at the moment',
};
// A hint only: how soon a running call ends is anybody's guess.
const IN_FLIGHT_RETRY_MS = 1_000;
const STORE_RETRY_MS = 1_000;

/** The reason with its sentence. */
export function reasonOf(code: ReasonCode): Reason {
  const retryAfterMs = code === 'in_flight_exhausted' ? IN_FLIGHT_RETRY_MS : code === 'store_unavailable' ? STORE_RETRY_MS : null;
  return { code, message: MESSAGES[code], scope: code === 'model_unpriced' ? 'model' : 'tenant', retryAfterMs };
}
