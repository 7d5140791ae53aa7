/** What a caller is told. A denial is an answer, not an error. */
import type { Nano } from '#libs/kernel/index.js';
import type { Hold } from './hold.js';
import { IN_FLIGHT_RETRY_MS, type Refusal } from './judge.js';
import { isKeyBalance, refusalOfBalance } from './key-balance.js';
import type { Claim } from './limit.js';

export const REASON_CODES = [
  'ok',
  'threshold_downgrade',
  'budget_downgrade',
  'insufficient_funds',
  'in_flight_exhausted',
  'too_large',
  'budget_exhausted',
  'global_lease',
  'rate_limited',
  'concurrency_limited',
  'tenant_missing',
  'tenant_unknown',
  'tenant_suspended',
  'key_revoked',
  'model_not_allowed',
  'model_unpriced',
  'store_unavailable',
] as const;
export type ReasonCode = (typeof REASON_CODES)[number];
export type Verdict = 'allow' | 'downgrade' | 'block';

export interface Reason {
  readonly code: ReasonCode;
  readonly message: string;
  readonly scope: 'tenant' | 'budget' | 'rate' | 'key' | 'model';
  readonly budgetId: string | null;
  /** When to ask again; null where waiting does not help. Exact where a window has to pass, a hint where running calls have to end. */
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

/** A limit as it stands after this decision. */
export interface LimitLine {
  readonly claim: Claim;
  readonly used: bigint;
  readonly held: bigint;
  readonly binding: boolean;
}

export interface Decision {
  readonly verdict: Verdict;
  readonly reason: Reason;
  /** What to call: the requested model or a step of its ladder; null where nobody named one. */
  readonly model: string | null;
  readonly hold: Hold | null;
  readonly estimate: Estimate | null;
  readonly wallet: WalletLimit | null;
  readonly limits: readonly LimitLine[];
  readonly shadow: boolean;
  /** What would have been decided with every limit enforced; null where it is the same. */
  readonly would: Verdict | null;
  readonly degraded: boolean;
  readonly replayed: boolean;
}

const MESSAGES: Record<ReasonCode, string> = {
  ok: 'the call may run',
  threshold_downgrade: 'a threshold of a budget was passed; a cheaper model runs instead',
  budget_downgrade: 'the requested model does not fit a limit; the first of its ladder that does runs instead',
  insufficient_funds: 'the prepaid balance is used up; add credit',
  in_flight_exhausted: 'running calls hold what is left; try again when one of them ends',
  too_large: 'this call may cost more than what is left; lower max_output_tokens or raise the limit',
  budget_exhausted: 'a budget is used up for its period',
  global_lease: 'what is left of a limit that all tenants share is set aside for others; try again soon',
  rate_limited: 'a rate limit is reached',
  concurrency_limited: 'as many calls as may run at once are running',
  tenant_missing: 'no tenant was named; the call runs and is booked under `unknown`',
  tenant_unknown: 'this tenant is not registered',
  tenant_suspended: 'this tenant is suspended',
  key_revoked: 'this key does not exist, is revoked or has expired',
  model_not_allowed: 'this key may not call this model',
  model_unpriced: 'this model has no price, so nothing can be promised for it',
  store_unavailable: 'the quota state cannot be reached at the moment',
};
/** Of a key whose own balance is gone. */
export const KEY_FUNDS_MESSAGE = 'the prepaid balance of this key is used up; credit the key';
const STORE_RETRY_MS = 1_000;
const SCOPE_OF: Partial<Record<ReasonCode, Reason['scope']>> = { model_unpriced: 'model', model_not_allowed: 'model', key_revoked: 'key' };

/** The reason with its sentence; what binds is the wallet, or no limit at all. */
export function reasonOf(code: ReasonCode): Reason {
  const retryAfterMs = code === 'in_flight_exhausted' ? IN_FLIGHT_RETRY_MS : code === 'store_unavailable' ? STORE_RETRY_MS : null;
  return { code, message: MESSAGES[code], scope: SCOPE_OF[code] ?? 'tenant', budgetId: null, retryAfterMs };
}

/** Why a limit or the wallet refused. @param limits the limits as they stand, to tell funds of a key from a budget */
export function reasonOfRefusal({ code, claim, retryAfterMs }: Refusal, limits: readonly Pick<LimitLine, 'claim' | 'used'>[]): Reason {
  const reason = { ...reasonFor(code, claim), retryAfterMs };
  if (claim === null || !isKeyBalance(claim.budgetId)) return reason;
  const usedNano = limits.find((line) => line.claim.counter === claim.counter)?.used ?? 0n;
  const funds = refusalOfBalance({ grantedNano: claim.limit, usedNano }, claim.amount);
  return { ...reason, code: funds, message: funds === 'insufficient_funds' ? KEY_FUNDS_MESSAGE : MESSAGES[funds] };
}

/** As {@link reasonOf}, because of a limit. */
export function reasonFor(code: ReasonCode, claim: Claim | null): Reason {
  return claim === null
    ? reasonOf(code)
    : { ...reasonOf(code), scope: claim.kind, budgetId: isKeyBalance(claim.budgetId) ? null : claim.budgetId, retryAfterMs: null };
}
