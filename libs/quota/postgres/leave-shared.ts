/**
 * What a posting leaves for the sum of a shared budget, and which tenants have used more of it than they were granted. Rows of their own: one
 * counter of all tenants would make every posting wait for every other.
 */
import { plainArray, textArray } from '#libs/platform/postgres/array-literal.js';
import type { Sql } from '#libs/platform/postgres/database.js';
import { isShared } from '../domain/budget.js';
import { bucketMsOf, oldestBucket } from '../domain/limit.js';
import { counterKey, type Match } from '../domain/match-budgets.js';
import type { Addition, CounterRow } from './counter-rows.js';
import { excessOf, noteExcess, type Excess } from './lease-rows.js';

/** Leaves what a posting added to shared budgets, and notes tenants that have used more than they were granted. */
export async function leaveShared(tx: Sql, additions: readonly Addition[], rows: readonly CounterRow[], at: Date): Promise<void> {
  const shared = additions.filter(({ match }) => isShared(match.rule.budget));
  if (shared.length === 0) return;
  await tx.execute(
    {
      name: 'quota.leave-shared',
      text: `INSERT INTO quota.shared_delta (budget_key, period_ms, value_key, "values", used_nano, used_tokens, used_requests)
             SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[], $4::jsonb[], $5::bigint[], $6::bigint[], $7::bigint[])`,
    },
    [
      textArray(shared.map(({ match }) => match.rule.key)),
      plainArray(shared.map(({ periodMs }) => periodMs)),
      textArray(shared.map(({ match }) => match.valueKey)),
      textArray(shared.map(({ values }) => JSON.stringify(values))),
      plainArray(shared.map(({ nano }) => nano)),
      plainArray(shared.map(({ tokens }) => tokens)),
      plainArray(shared.map(({ requests }) => requests)),
    ],
  );
  const used = new Map(rows.map((row) => [JSON.stringify([row.tenant_id, row.budget_key, Number(row.period_ms), row.value_key]), row]));
  const fixed = shared.filter(({ match }) => match.span !== null);
  const rolling = shared.filter(({ match }) => match.span === null);
  await noteExcess(tx, [
    ...fixed.flatMap(({ tenantId, match, periodMs }) => {
      const row = used.get(JSON.stringify([tenantId, match.rule.key, periodMs, match.valueKey]));
      return row === undefined ? [] : excessOfRow(match, tenantId, row);
    }),
    ...(await excessOfWindows(tx, rolling, at)),
  ]);
}

/** The excess of one tenant's counter, for every metric and percent. */
export function excessOfRow(match: Match, tenantId: string, row: Pick<CounterRow, 'used_nano' | 'used_tokens' | 'used_requests'>): Excess[] {
  const { budget } = match.rule;
  const endsAtMs = match.span?.endsAtMs ?? null;
  const metrics = [
    { metric: 'usd', used: row.used_nano },
    { metric: 'tokens', used: row.used_tokens },
    { metric: 'requests', used: row.used_requests },
  ] as const;
  return metrics.flatMap(({ metric, used }) => excessOf(budget, counterKey(match, metric), tenantId, used, endsAtMs));
}

async function excessOfWindows(tx: Sql, additions: readonly Addition[], at: Date): Promise<Excess[]> {
  if (additions.length === 0) return [];
  const windows = [
    ...new Map(additions.map((addition) => [JSON.stringify([addition.tenantId, addition.match.rule.key, addition.match.valueKey]), addition])).values(),
  ];
  const sums = await tx.query<Pick<CounterRow, 'used_nano' | 'used_tokens' | 'used_requests'> & { position: bigint }>(
    `SELECT n.position, sum(c.used_nano)::bigint AS used_nano, sum(c.used_tokens)::bigint AS used_tokens, sum(c.used_requests)::bigint AS used_requests
     FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[]) WITH ORDINALITY AS n (tenant_id, budget_key, value_key, from_ms, position)
     JOIN quota.counter c ON c.tenant_id = n.tenant_id AND c.budget_key = n.budget_key AND c.value_key = n.value_key AND c.period_ms >= n.from_ms GROUP BY n.position`,
    [
      textArray(windows.map(({ tenantId }) => tenantId)),
      textArray(windows.map(({ match }) => match.rule.key)),
      textArray(windows.map(({ match }) => match.valueKey)),
      plainArray(
        windows.map(({ match }) => {
          const { period } = match.rule.budget;
          return period.kind === 'rolling' ? oldestBucket(at.getTime(), bucketMsOf(period.seconds)) : 0;
        }),
      ),
    ],
  );
  return sums.flatMap((row) => {
    const of = windows[Number(row.position) - 1];
    return of === undefined ? [] : excessOfRow(of.match, of.tenantId, row);
  });
}
