/**
 * Counters that passed a threshold leave a crossing in the posting transaction, with its row in the outbox: once per period, whatever
 * restarts. What is in a rolling window has to be added up: rolling-windows.ts says when it is, and when it is told again.
 */
import { newUuid } from '#libs/kernel/index.js';
import { appendOutbox } from '#libs/platform/outbox/outbox.js';
import { plainArray, textArray, timeArray } from '#libs/platform/postgres/array-literal.js';
import type { Sql } from '#libs/platform/postgres/database.js';
import { toCrossedRow } from '../application/crossing-payload.js';
import { passedThresholds, type Passed } from '../domain/crossing.js';
import { limitsOf } from '../domain/match-budgets.js';
import type { Addition, CounterRow } from './counter-rows.js';
import { notQuiet, sumWindows, type Standing } from './rolling-windows.js';

interface Crossed extends Passed {
  readonly crossingId: string;
  readonly addition: Addition;
  readonly periodMs: number;
}

/** @param rows the counters that `additions` were added to */
export async function noteCrossings(tx: Sql, additions: readonly Addition[], rows: readonly CounterRow[], at: Date): Promise<void> {
  const standings = standingsOf(
    additions.filter(({ match }) => !match.rule.budget.paused),
    rows,
  );
  const windows = await sumWindows(
    tx,
    standings.filter(({ addition }) => addition.match.span === null),
    at,
  );
  const inPeriods = standings.filter(({ addition }) => addition.match.span !== null);
  const passed = [...crossedBy(inPeriods, at), ...(await notQuiet(tx, crossedBy(windows, at), at))];
  await write(tx, passed, at);
}

function standingsOf(additions: readonly Addition[], rows: readonly CounterRow[]): Standing[] {
  const standing = new Map(rows.map((row) => [JSON.stringify([row.tenant_id, row.budget_key, Number(row.period_ms), row.value_key]), row]));
  return additions.flatMap((addition) => {
    const { match, periodMs, tenantId } = addition;
    const row = standing.get(JSON.stringify([tenantId, match.rule.key, periodMs, match.valueKey]));
    return row === undefined ? [] : [{ addition, periodMs, used: { nano: row.used_nano, tokens: row.used_tokens, requests: row.used_requests } }];
  });
}

function crossedBy(standings: readonly Standing[], at: Date): Crossed[] {
  return standings.flatMap(({ addition, periodMs, used }) =>
    passedThresholds(addition.match.rule.budget.thresholds, limitsOf(addition.match), used).map((passed) => ({
      ...passed,
      crossingId: newUuid(at),
      addition,
      periodMs,
    })),
  );
}

async function write(tx: Sql, crossed: readonly Crossed[], at: Date): Promise<void> {
  if (crossed.length === 0) return;
  const budgets = crossed.map(({ addition }) => addition.match.rule.budget);
  const noted = await tx.query<{ crossing_id: string }>(
    {
      name: 'quota.note-crossings',
      text: `INSERT INTO quota.crossing (crossing_id, tenant_id, owner_id, budget_id, version, budget_key, period_ms, period_ends, value_key, "values", metric, percent, action,
               limit_value, used_value, crossed_at)
             SELECT *, $16::timestamptz FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::integer[], $6::text[], $7::bigint[], $8::timestamptz[], $9::text[], $10::jsonb[],
               $11::text[], $12::integer[], $13::text[], $14::bigint[], $15::bigint[])
             ON CONFLICT (tenant_id, budget_key, period_ms, value_key, metric, percent, action) DO NOTHING RETURNING crossing_id`,
    },
    [
      plainArray(crossed.map(({ crossingId }) => crossingId)),
      textArray(crossed.map(({ addition }) => addition.tenantId)),
      textArray(budgets.map((budget) => budget.tenantId)),
      textArray(budgets.map((budget) => budget.budgetId)),
      plainArray(budgets.map((budget) => budget.version)),
      textArray(crossed.map(({ addition }) => addition.match.rule.key)),
      plainArray(crossed.map(({ periodMs }) => periodMs)),
      timeArray(crossed.map(({ addition }) => endOf(addition))),
      textArray(crossed.map(({ addition }) => addition.match.valueKey)),
      textArray(crossed.map(({ addition }) => JSON.stringify(addition.values))),
      textArray(crossed.map(({ metric }) => metric)),
      plainArray(crossed.map(({ percent }) => percent)),
      textArray(crossed.map(({ action }) => action)),
      plainArray(crossed.map(({ limit }) => limit)),
      plainArray(crossed.map(({ used }) => used)),
      at,
    ],
  );
  const fresh = new Set(noted.map((row) => row.crossing_id));
  const news = crossed.filter(({ crossingId }) => fresh.has(crossingId));
  await appendOutbox(
    tx,
    news.map(({ addition, periodMs, ...passed }) => {
      const { budget } = addition.match.rule;
      return toCrossedRow({
        ...passed,
        tenantId: addition.tenantId,
        acrossTenants: budget.tenantId === '',
        budgetId: budget.budgetId,
        version: budget.version,
        values: addition.values,
        valueKey: addition.match.valueKey,
        period: budget.period,
        periodStartsAt: new Date(periodMs),
        periodEndsAt: endOf(addition),
        shadow: budget.enforcement === 'shadow',
        crossedAt: at,
      });
    }),
  );
}

function endOf({ match }: Addition): Date | null {
  const endsAtMs = match.span?.endsAtMs ?? null;
  return endsAtMs === null ? null : new Date(endsAtMs);
}
