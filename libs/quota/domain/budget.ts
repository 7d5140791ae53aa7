/**
 * A budget as an operator sets it: what it is for (`scope`, and one counter for each value of `per`), over what period, how much, and what
 * happens on the way. A change of what it counts is a new version with counters of its own; a change of how much is not.
 */
import type { Nano } from '#libs/kernel/index.js';
import type { Period } from './period.js';

/** What a call says about itself that a budget may be about. */
export const ATTRIBUTES = [
  'tenant_id',
  'user_id',
  'feature',
  'environment',
  'assistant_id',
  'thread_id',
  'request_id',
  'api_key_id',
  'model',
  'provider',
  'source',
] as const;
export type Attribute = (typeof ATTRIBUTES)[number];
export const SCOPE_ATTRIBUTES = ATTRIBUTES.filter((attribute) => attribute !== 'tenant_id');

/** Null: the call does not say. */
export type Attributes = { readonly [attribute in Attribute]: string | null } & { readonly tags: Readonly<Record<string, string>> | null };

export type Scope = { readonly [attribute in Attribute]?: string | undefined } & { readonly tags?: Readonly<Record<string, string>> | undefined };

export interface Limits {
  readonly usdNano: Nano | null;
  readonly tokens: bigint | null;
  readonly requests: bigint | null;
  readonly concurrent: bigint | null;
}

export const THRESHOLD_ACTIONS = ['notify', 'downgrade', 'block'] as const;
export interface Threshold {
  /** Integer, from 1 to 1,000. */
  readonly percent: number;
  readonly action: (typeof THRESHOLD_ACTIONS)[number];
  readonly appliesTo: 'all' | 'non_critical';
}

export const DEFAULT_THRESHOLDS: readonly Threshold[] = [
  { percent: 50, action: 'notify', appliesTo: 'all' },
  { percent: 80, action: 'downgrade', appliesTo: 'non_critical' },
  { percent: 100, action: 'block', appliesTo: 'all' },
];

export const BUDGET_ENFORCEMENTS = ['enforce', 'shadow'] as const;
export const COUNT_FROM = ['period_start', 'now'] as const;

/** What a PUT names. */
export interface BudgetSettings {
  readonly scope: Scope;
  readonly per: readonly Attribute[];
  readonly period: Period;
  readonly limits: Limits;
  readonly thresholds: readonly Threshold[];
  readonly enforcement: (typeof BUDGET_ENFORCEMENTS)[number];
  readonly countFrom: (typeof COUNT_FROM)[number];
}

export interface Budget extends BudgetSettings {
  /** '' of a budget across tenants. */
  readonly tenantId: string;
  readonly budgetId: string;
  readonly version: number;
  /** IANA zone of its calendar periods: the tenant's when this version was made. */
  readonly timezone: string;
  /** Calls asked for earlier do not count; null: all of the period do. */
  readonly countsFromMs: number | null;
  readonly paused: boolean;
  /** Its counters are not complete yet. */
  readonly warming: boolean;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

/** Other limits for one set of values of `per`; a metric it does not name keeps the budget's. */
export interface Override {
  readonly budgetId: string;
  readonly values: Scope;
  readonly valueKey: string;
  readonly limits: Limits;
}

/** More of a limit in one period. */
export interface TopUp {
  readonly budgetId: string;
  readonly valueKey: string;
  readonly periodMs: number;
  readonly limits: Limits;
}

/** Whether all tenants share its counters. One that counts by tenant is every tenant's own, whoever set it. */
export function isShared({ tenantId, per }: Pick<Budget, 'tenantId' | 'per'>): boolean {
  return tenantId === '' && !per.includes('tenant_id');
}

/** The percents of a limit at which something happens to a call: each of a shared budget is leased apart. */
export function leasedPercents({ thresholds }: Pick<Budget, 'thresholds'>): number[] {
  const percents = [false, true].flatMap((critical) => [blockPercent(thresholds, critical), thresholdFor(thresholds, 'downgrade', critical)]);
  return [...new Set(percents.filter((percent) => percent !== null))];
}

/** What a budget counts: another answer is another version. */
export function countsAlike(left: BudgetSettings, right: BudgetSettings): boolean {
  const what = ({ scope, per, period, countFrom }: BudgetSettings): string => JSON.stringify([sorted(scope), [...per].sort(), period, countFrom]);
  return what(left) === what(right);
}

function sorted(scope: Scope): unknown[] {
  const entries = Object.entries(scope).filter(([key, value]) => key !== 'tags' && value !== undefined);
  const tags = Object.entries(scope.tags ?? {});
  return [entries.sort(byKey), tags.sort(byKey)];
}

function byKey([left]: [string, unknown], [right]: [string, unknown]): number {
  return left < right ? -1 : left > right ? 1 : 0;
}

/** The limits of one counter: override, then what was topped up. */
export function limitsFor(budget: BudgetSettings, override: Override | undefined, topUps: readonly TopUp[]): Limits {
  const one = (metric: keyof Limits): bigint | null => {
    const base = override?.limits[metric] ?? budget.limits[metric];
    return base === null ? null : topUps.reduce((sum, topUp) => sum + (topUp.limits[metric] ?? 0n), base);
  };
  return { usdNano: one('usdNano'), tokens: one('tokens'), requests: one('requests'), concurrent: one('concurrent') };
}

/** `percent` of a limit, rounded down: what may be used up to it. */
export function percentOf(limit: bigint, percent: number): bigint {
  return (limit * BigInt(percent)) / 100n;
}

/** The lowest threshold of an action that counts for the call, in percent; null where none does. */
export function thresholdFor(thresholds: readonly Threshold[], action: Threshold['action'], critical: boolean): number | null {
  const percents = thresholds
    .filter((threshold) => threshold.action === action && !(critical && threshold.appliesTo === 'non_critical'))
    .map(({ percent }) => percent);
  return percents.length === 0 ? null : Math.min(...percents);
}

/** Where the budget refuses, in percent: 100 where nobody said otherwise; null where only others are refused. */
export function blockPercent(thresholds: readonly Threshold[], critical: boolean): number | null {
  return thresholds.some(({ action }) => action === 'block') ? thresholdFor(thresholds, 'block', critical) : 100;
}
