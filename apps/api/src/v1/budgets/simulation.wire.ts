import { formatUsd, toWireId } from '#libs/kernel/index.js';
import type { Simulation } from '#libs/quota/index.js';
import type { BudgetSimulationWire } from './simulation.schemas.js';

type Blocked = Simulation['blockedCalls'][number];
type Metric = Simulation['counters'][number]['metric'];

export function toSimulationWire({
  budget,
  from,
  to,
  asOf,
  calls,
  blockedBy,
  dollars,
  counters,
  blockedCalls,
  history,
  cut,
}: Simulation): BudgetSimulationWire {
  return {
    from: from.toISOString(),
    to: to.toISOString(),
    as_of: asOf.toISOString(),
    timezone: budget.timezone,
    shadow: budget.enforcement === 'shadow',
    calls: { looked_at: calls.all, allowed: calls.allowed, downgraded: calls.downgraded, shortened: calls.shortened, blocked: calls.blocked },
    blocked_by: Object.fromEntries(blockedBy),
    recorded_usd: formatUsd(dollars.recordedNano),
    allowed_usd: formatUsd(dollars.allowedNano),
    blocked_usd: formatUsd(dollars.blockedNano),
    counters: counters.map((counter) => ({
      metric: counter.metric,
      values: counter.values,
      period_start: timeOf(counter.startsAtMs),
      limit: amount(counter.metric, counter.limit),
      used: amount(counter.metric, counter.used),
      blocked_calls: counter.blockedCalls,
      first_blocked_at: timeOf(counter.firstBlockedAtMs),
      crossings: counter.crossings.map(({ percent, action, atMs }) => ({ percent, action, at: new Date(atMs).toISOString() })),
    })),
    blocked: blockedCalls.map(toBlockedWire),
    history: {
      reported_only: history.reportedOnly,
      unreported: history.unreported,
      assumed: history.assumed,
      refused_then: history.refusedThen,
    },
    truncated: cut !== null,
    truncated_by: cut?.reason ?? null,
    next_from: cut?.nextFrom.toISOString() ?? null,
  };
}

function toBlockedWire({
  callId,
  holdId,
  eventId,
  atMs,
  reason,
  costNano,
  counter,
  limit,
  used,
  held,
  asked,
}: Blocked): BudgetSimulationWire['blocked'][number] {
  const metric = counter?.metric ?? 'usd';
  return {
    call_id: callId,
    hold_id: holdId === null ? null : toWireId('hold', holdId),
    event_id: eventId === null ? null : toWireId('evt', eventId),
    at: new Date(atMs).toISOString(),
    reason,
    cost_usd: formatUsd(costNano),
    counter: counter === null ? null : { metric, values: counter.values, period_start: timeOf(counter.startsAtMs), limit: amount(metric, limit) },
    used: amount(metric, used),
    held: amount(metric, held),
    asked: amount(metric, asked),
  };
}

function amount(metric: Metric, value: bigint): string {
  return metric === 'usd' ? formatUsd(value) : String(value);
}

function timeOf(atMs: number | null): string | null {
  return atMs === null ? null : new Date(atMs).toISOString();
}
