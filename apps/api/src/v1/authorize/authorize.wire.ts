import type { z } from 'zod';
import { formatUsd, isoOfMs, toWireId } from '#libs/kernel/index.js';
import { keyOfBalance, type AuthorizeInput, type Decision, type LimitLine, type WalletLimit } from '#libs/quota/index.js';
import type { authorizeAnswer, authorizeBody } from './authorize.schemas.js';

type Body = z.infer<typeof authorizeBody>;
type Answer = z.infer<typeof authorizeAnswer>;

export function toAuthorizeInput(body: Body, from: Pick<AuthorizeInput, 'tenantId' | 'sourceId' | 'maySetUpTenants'>): AuthorizeInput {
  // Field by field: spreading `from` first took longer than the rest of a decision.
  return {
    tenantId: from.tenantId,
    sourceId: from.sourceId,
    maySetUpTenants: from.maySetUpTenants,
    callId: body.call_id ?? null,
    provider: body.provider ?? null,
    model: body.model ?? null,
    inputTokens: body.input_tokens ?? null,
    maxOutputTokens: body.max_output_tokens ?? null,
    estimatedCostNano: body.estimated_cost_usd ?? null,
    userId: body.user_id ?? null,
    feature: body.feature ?? null,
    environment: body.environment ?? null,
    assistantId: body.assistant_id ?? null,
    threadId: body.thread_id ?? null,
    apiKey: body.api_key ?? null,
    apiKeyId: body.api_key_id ?? null,
    requestId: body.request_id ?? null,
    tags: body.tags ?? null,
    critical: body.priority === 'critical',
    // Whoever speaks this dialect is about to make the call.
    inPath: true,
  };
}

/** The answer on the wire; `limits` is absent in the minimal one. */
export function toAnswerWire(decision: Decision, asked: AuthorizeInput, minimal: boolean): Answer {
  const { hold, estimate, wallet, reason } = decision;
  const model = decision.model ?? asked.model ?? hold?.facts?.model ?? null;
  const remaining = wallet?.remainingNano ?? null;
  const answer: Answer = {
    decision: decision.verdict,
    model,
    route: model === null ? null : { provider: hold?.facts?.provider ?? asked.provider, model: hold?.facts?.model ?? model },
    max_output_tokens: estimate?.maxOutputTokens ?? asked.maxOutputTokens,
    reason: { code: reason.code, message: reason.message, scope: reason.scope, budget_id: reason.budgetId, retry_after_ms: reason.retryAfterMs },
    hold: hold === null ? null : { hold_id: toWireId('hold', hold.holdId), amount_usd: formatUsd(hold.amountNano), expires_at: isoOfMs(hold.expiresAtMs) },
    available_usd: remaining === null ? null : formatUsd(remaining),
    estimate: estimate === null ? null : { cost_usd: formatUsd(estimate.costNano), basis: estimate.basis, price_version: estimate.priceVersion },
    shadow: decision.shadow,
    would: decision.would,
    degraded: decision.degraded,
    replayed: decision.replayed,
  };
  if (!minimal) answer.limits = wallet === null ? [] : [walletWire(wallet, hold?.tenantId ?? asked.tenantId ?? ''), ...decision.limits.map(limitWire)];
  return answer;
}

/** A limit on the wire; dollars as decimals, the rest as whole numbers. */
export function limitWire({ claim, used, held, binding }: LimitLine): NonNullable<Answer['limits']>[number] {
  const amount = (value: bigint): string => (claim.metric === 'usd' ? formatUsd(value) : String(value));
  const remaining = claim.limit - used - held;
  const endsAtMs = claim.window.kind === 'fixed' ? claim.window.endsAtMs : null;
  return {
    kind: claim.kind,
    id: keyOfBalance(claim.budgetId) ?? claim.budgetId,
    metric: claim.metric,
    limit: amount(claim.limit),
    used: amount(used),
    held: amount(held),
    remaining: amount(remaining < 0n ? 0n : remaining),
    resets_at: endsAtMs === null ? null : isoOfMs(endsAtMs),
    enforced: claim.enforced && !claim.silent,
    binding,
  };
}

export function walletWire(wallet: WalletLimit, tenantId: string): NonNullable<Answer['limits']>[number] {
  return {
    kind: 'wallet',
    id: tenantId,
    metric: 'usd',
    limit: wallet.limitNano === null ? null : formatUsd(wallet.limitNano),
    used: formatUsd(wallet.usedNano),
    held: formatUsd(wallet.heldNano),
    remaining: wallet.remainingNano === null ? null : formatUsd(wallet.remainingNano),
    resets_at: null,
    enforced: wallet.enforced,
    binding: wallet.binding,
  };
}
