/** Rules as the audit trail keeps them. */
import { formatUsd, type Json } from '#libs/kernel/index.js';
import type { Budget, Limits } from '../domain/budget.js';

export function describeLimits({ usdNano, tokens, requests, concurrent }: Limits): { [key: string]: Json } {
  const text = (value: bigint | null): string | null => (value === null ? null : String(value));
  return {
    limit_usd: usdNano === null ? null : formatUsd(usdNano),
    limit_tokens: text(tokens),
    limit_requests: text(requests),
    limit_concurrent: text(concurrent),
  };
}

export function describeBudget(budget: Budget): Json {
  const { tags, ...scope } = budget.scope;
  return {
    scope: { ...(scope as { [key: string]: string }), ...(tags === undefined ? {} : { tags: { ...tags } }) },
    per: [...budget.per],
    period: budget.period.kind === 'rolling' ? { rolling_seconds: budget.period.seconds } : budget.period.kind,
    timezone: budget.timezone,
    ...describeLimits(budget.limits),
    thresholds: budget.thresholds.map(({ percent, action, appliesTo }) => ({ percent, action, applies_to: appliesTo })),
    enforcement: budget.enforcement,
    count_from: budget.countFrom,
    version: budget.version,
    paused: budget.paused,
  };
}
