/** Rows of quota.budget and what belongs to them. */
import type { Json } from '#libs/kernel/index.js';
import type { Budget, Limits, Override, Scope, Threshold, TopUp } from '../domain/budget.js';
import { ATTRIBUTES, type Attribute } from '../domain/budget.js';
import type { CalendarPeriod } from '../domain/period.js';

export interface BudgetRow {
  tenant_id: string;
  budget_id: string;
  version: number;
  scope: { [key: string]: Json };
  per: string[];
  period: CalendarPeriod | 'rolling';
  rolling_seconds: number | null;
  timezone: string;
  limit_nano: bigint | null;
  limit_tokens: bigint | null;
  limit_requests: bigint | null;
  limit_concurrent: bigint | null;
  thresholds: { percent: number; action: Threshold['action']; applies_to: Threshold['appliesTo'] }[];
  enforcement: Budget['enforcement'];
  count_from: Budget['countFrom'];
  counts_from: Date | null;
  paused: boolean;
  warming: boolean;
  created_at: Date;
  updated_at: Date;
  deleted_at: Date | null;
}

export interface OverrideRow {
  tenant_id: string;
  budget_id: string;
  value_key: string;
  values: { [key: string]: Json };
  limit_nano: bigint | null;
  limit_tokens: bigint | null;
  limit_requests: bigint | null;
  limit_concurrent: bigint | null;
}

export interface TopUpRow {
  tenant_id: string;
  budget_id: string;
  value_key: string;
  period_ms: bigint;
  amount_nano: bigint | null;
  amount_tokens: bigint | null;
  amount_requests: bigint | null;
}

export const BUDGET_COLUMNS = `tenant_id, budget_id, version, scope, per, period, rolling_seconds, timezone, limit_nano, limit_tokens, limit_requests, limit_concurrent,
  thresholds, enforcement, count_from, counts_from, paused, warming, created_at, updated_at, deleted_at`;

export function fromBudgetRow(row: BudgetRow): Budget {
  return {
    tenantId: row.tenant_id,
    budgetId: row.budget_id,
    version: row.version,
    scope: toScope(row.scope),
    per: row.per.filter(isAttribute),
    period: row.period === 'rolling' ? { kind: 'rolling', seconds: row.rolling_seconds ?? 0 } : { kind: row.period },
    timezone: row.timezone,
    limits: limitsOfRow(row),
    thresholds: row.thresholds.map(({ percent, action, applies_to }) => ({ percent, action, appliesTo: applies_to })),
    enforcement: row.enforcement,
    countFrom: row.count_from,
    countsFromMs: row.counts_from?.getTime() ?? null,
    paused: row.paused,
    warming: row.warming,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  };
}

export function budgetParams(budget: Budget, deletedAt: Date | null): unknown[] {
  return [
    budget.tenantId,
    budget.budgetId,
    budget.version,
    JSON.stringify(budget.scope),
    budget.per,
    budget.period.kind,
    budget.period.kind === 'rolling' ? budget.period.seconds : null,
    budget.timezone,
    budget.limits.usdNano,
    budget.limits.tokens,
    budget.limits.requests,
    budget.limits.concurrent,
    JSON.stringify(budget.thresholds.map(({ percent, action, appliesTo }) => ({ percent, action, applies_to: appliesTo }))),
    budget.enforcement,
    budget.countFrom,
    budget.countsFromMs === null ? null : new Date(budget.countsFromMs),
    budget.paused,
    budget.warming,
    budget.createdAt,
    budget.updatedAt,
    deletedAt,
  ];
}

export function fromOverrideRow(row: OverrideRow): Override {
  return { budgetId: row.budget_id, values: toScope(row.values), valueKey: row.value_key, limits: limitsOfRow(row) };
}

export function fromTopUpRow(row: TopUpRow): TopUp {
  return {
    budgetId: row.budget_id,
    valueKey: row.value_key,
    periodMs: Number(row.period_ms),
    limits: { usdNano: row.amount_nano, tokens: row.amount_tokens, requests: row.amount_requests, concurrent: null },
  };
}

export function toScope(json: { [key: string]: Json }): Scope {
  const scope: { [attribute in Attribute]?: string } = {};
  for (const [key, value] of Object.entries(json)) if (isAttribute(key) && typeof value === 'string') scope[key] = value;
  const { tags } = json;
  return typeof tags === 'object' && tags !== null ? { ...scope, tags: tags as Record<string, string> } : scope;
}

function limitsOfRow(row: Pick<BudgetRow, 'limit_nano' | 'limit_tokens' | 'limit_requests' | 'limit_concurrent'>): Limits {
  return { usdNano: row.limit_nano, tokens: row.limit_tokens, requests: row.limit_requests, concurrent: row.limit_concurrent };
}

function isAttribute(key: string): key is Attribute {
  return (ATTRIBUTES as readonly string[]).includes(key);
}
