/** A crossing on its way from the posting transaction to whoever tells people. */
import type { OutboxRow } from '#libs/platform/outbox/outbox.js';
import type { WaitingRow } from '#libs/platform/outbox/read-outbox.js';
import type { Budget, Scope } from '../domain/budget.js';
import type { Period } from '../domain/period.js';
import type { Crossing } from './crossing-reader.js';

/** Outbox rows of this topic are told once each: nobody finds them again when they are lost. */
export const CROSSED_TOPIC = 'quota.crossed';

/** What a crossing means to people. */
export interface ToldCrossing extends Crossing {
  /** Of every tenant its own counter; the budget is none of the tenant's. */
  readonly acrossTenants: boolean;
  /** Which of the budget's counters, in the store's words. */
  readonly valueKey: string;
  readonly period: Period;
  /** The budget refuses nothing. */
  readonly shadow: boolean;
}

interface Payload {
  readonly crossing_id: string;
  readonly across_tenants: boolean;
  readonly budget_id: string;
  readonly version: number;
  readonly values: Scope;
  readonly value_key: string;
  readonly metric: Crossing['metric'];
  readonly percent: number;
  readonly action: Crossing['action'];
  readonly limit: string;
  readonly used: string;
  readonly period: Period;
  readonly period_starts_at: string;
  readonly period_ends_at: string | null;
  readonly enforcement: Budget['enforcement'];
  readonly crossed_at: string;
}

export function toCrossedRow(crossing: ToldCrossing): OutboxRow {
  const payload: Payload = {
    crossing_id: crossing.crossingId,
    across_tenants: crossing.acrossTenants,
    budget_id: crossing.budgetId,
    version: crossing.version,
    values: crossing.values,
    value_key: crossing.valueKey,
    metric: crossing.metric,
    percent: crossing.percent,
    action: crossing.action,
    limit: String(crossing.limit),
    used: String(crossing.used),
    period: crossing.period,
    period_starts_at: crossing.periodStartsAt.toISOString(),
    period_ends_at: crossing.periodEndsAt?.toISOString() ?? null,
    enforcement: crossing.shadow ? 'shadow' : 'enforce',
    crossed_at: crossing.crossedAt.toISOString(),
  };
  return { tenantId: crossing.tenantId, tenantSeq: null, topic: CROSSED_TOPIC, payload: { ...payload } };
}

export function fromCrossedRow({ tenantId, payload }: WaitingRow): ToldCrossing {
  const told = payload as unknown as Payload;
  return {
    crossingId: told.crossing_id,
    tenantId,
    acrossTenants: told.across_tenants,
    budgetId: told.budget_id,
    version: told.version,
    values: told.values,
    valueKey: told.value_key,
    metric: told.metric,
    percent: told.percent,
    action: told.action,
    limit: BigInt(told.limit),
    used: BigInt(told.used),
    period: told.period,
    periodStartsAt: new Date(told.period_starts_at),
    periodEndsAt: told.period_ends_at === null ? null : new Date(told.period_ends_at),
    shadow: told.enforcement === 'shadow',
    crossedAt: new Date(told.crossed_at),
  };
}
