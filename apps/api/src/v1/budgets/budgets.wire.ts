import { formatUsd, type Nano } from '#libs/kernel/index.js';
import {
  DEFAULT_THRESHOLDS,
  type Budget,
  type BudgetLimits,
  type BudgetOverride,
  type BudgetScope,
  type BudgetSettings,
  type BudgetTopUp,
  type ReadLimits,
} from '#libs/quota/index.js';
import { encodeCursor } from '../../http/schemas.js';
import { limitWire } from '../authorize/authorize.wire.js';
import type { BudgetStatusWire, BudgetWire, OverrideBody, OverrideWire, PutBudgetBody, TopUpBody, TopUpWire } from './budgets.schemas.js';

export function toBudgetSettings(body: PutBudgetBody, acrossTenants: boolean): BudgetSettings {
  return {
    scope: toScope(body.scope),
    per: body.per,
    period: typeof body.period === 'string' ? { kind: body.period } : { kind: 'rolling', seconds: body.period.rolling_seconds },
    limits: toLimits(body),
    thresholds: body.thresholds?.map(({ percent, action, applies_to }) => ({ percent, action, appliesTo: applies_to })) ?? DEFAULT_THRESHOLDS,
    enforcement: body.enforcement,
    countFrom: body.count_from ?? (acrossTenants ? 'now' : 'period_start'),
  };
}

export function toLimits(body: Pick<OverrideBody, 'limit_usd' | 'limit_tokens' | 'limit_requests' | 'limit_concurrent'>): BudgetLimits {
  return {
    usdNano: body.limit_usd ?? null,
    tokens: toBigInt(body.limit_tokens),
    requests: toBigInt(body.limit_requests),
    concurrent: toBigInt(body.limit_concurrent),
  };
}

export function toAmounts(body: TopUpBody): BudgetLimits {
  return { usdNano: body.amount_usd ?? null, tokens: toBigInt(body.amount_tokens), requests: toBigInt(body.amount_requests), concurrent: null };
}

/** What was named; zod leaves absent fields as undefined. */
export function toScope(named: Record<string, unknown>): BudgetScope {
  return Object.fromEntries(Object.entries(named).filter(([, value]) => value !== undefined)) as BudgetScope;
}

export function toBudgetWire(budget: Budget): BudgetWire {
  return {
    budget_id: budget.budgetId,
    tenant_id: budget.tenantId === '' ? null : budget.tenantId,
    version: budget.version,
    scope: { ...budget.scope },
    per: [...budget.per],
    period: budget.period.kind === 'rolling' ? { rolling_seconds: budget.period.seconds } : budget.period.kind,
    timezone: budget.timezone,
    ...limitsText(budget.limits),
    thresholds: budget.thresholds.map(({ percent, action, appliesTo }) => ({ percent, action, applies_to: appliesTo })),
    enforcement: budget.enforcement,
    count_from: budget.countFrom,
    paused: budget.paused,
    warming: budget.warming,
    created_at: budget.createdAt.toISOString(),
    updated_at: budget.updatedAt.toISOString(),
  };
}

export function toOverrideWire(override: BudgetOverride): OverrideWire {
  return { override_id: override.valueKey, budget_id: override.budgetId, values: toValues(override.values), ...limitsText(override.limits) };
}

export function toTopUpWire(topUp: BudgetTopUp): TopUpWire {
  const { usdNano, tokens, requests } = topUp.limits;
  return {
    top_up_id: topUp.topUpId,
    budget_id: topUp.budgetId,
    values: toValues(topUp.values ?? {}),
    period_start: new Date(topUp.periodMs).toISOString(),
    amount_usd: usdText(usdNano),
    amount_tokens: countText(tokens),
    amount_requests: countText(requests),
    created_at: topUp.createdAt.toISOString(),
  };
}

/** One more counter than `limit` says that there is another page. */
export function toStatusWire({ budget, counters }: Awaited<ReturnType<ReadLimits['status']>>, limit: number): BudgetStatusWire {
  const shown = counters.slice(0, limit);
  const last = shown.at(-1);
  return {
    budget: toBudgetWire(budget),
    data: shown.map((counter) => ({
      counter_id: counter.valueKey,
      values: counter.values === null ? null : toValues(counter.values),
      period_start: counter.startsAtMs === null ? null : new Date(counter.startsAtMs).toISOString(),
      limits: counter.limits.map(limitWire),
    })),
    next_cursor: counters.length > limit && last !== undefined ? encodeCursor([last.valueKey]) : null,
  };
}

function toValues(scope: BudgetScope): Record<string, string> {
  return Object.fromEntries(Object.entries(scope).flatMap(([key, value]) => (typeof value === 'string' ? [[key, value]] : [])));
}

function limitsText({ usdNano, tokens, requests, concurrent }: BudgetLimits) {
  return { limit_usd: usdText(usdNano), limit_tokens: countText(tokens), limit_requests: countText(requests), limit_concurrent: countText(concurrent) };
}

function usdText(nano: Nano | null): string | null {
  return nano === null ? null : formatUsd(nano);
}

function countText(value: bigint | null): string | null {
  return value === null ? null : String(value);
}

function toBigInt(value: number | null | undefined): bigint | null {
  return value === null || value === undefined ? null : BigInt(value);
}
