/**
 * A shared budget that begins to refuse has calls in flight and bookings that nobody was granted anything for: while it warmed, was paused, or
 * before it was made. What each tenant has of it is noted in the transaction that ends this, so that the pool counts it before it grants anything.
 */
import { plainArray, textArray } from '#libs/platform/postgres/array-literal.js';
import type { Sql } from '#libs/platform/postgres/database.js';
import type { Budget } from '../domain/budget.js';
import { attributesOf, claimHeldBy } from '../domain/hold.js';
import { counterKey, periodMsOf, ruleOf, RuleSet, type Match } from '../domain/match-budgets.js';
import type { CounterRow } from './counter-rows.js';
import { fromHoldRow, type HoldRow } from './hold-rows.js';
import { excessOf, noteExcess, type Excess } from './lease-rows.js';
import { METRICS, type Metric } from '../domain/limit.js';

const PAGE = 5_000;

interface Having {
  readonly tenantId: string;
  readonly match: Match;
  readonly periodMs: number;
  readonly held: Record<Metric, bigint>;
}

export async function coverOpenCalls(tx: Sql, budget: Budget): Promise<void> {
  const set = new RuleSet([ruleOf(budget, [], [])]);
  const havings = new Map<string, Having>();
  for (let after: string | null = null; ;) {
    const rows: HoldRow[] = await tx.query<HoldRow>(
      `SELECT * FROM quota.hold WHERE (state = 'active' OR (state = 'unresolved' AND policy <> 'release' AND resolution = 'expired'))
         AND ($1::uuid IS NULL OR hold_id > $1) ORDER BY hold_id LIMIT $2`,
      [after, PAGE],
    );
    for (const row of rows) addHold(havings, set, row);
    after = rows.at(-1)?.hold_id ?? null;
    if (rows.length < PAGE) break;
  }
  await noteExcess(tx, await excessOfHavings(tx, [...havings.values()]));
}

function addHold(havings: Map<string, Having>, set: RuleSet, row: HoldRow): void {
  const hold = fromHoldRow(row);
  if (hold.facts === null) return;
  const { facts, tenantId, createdAtMs } = hold;
  for (const match of set.match(attributesOf(tenantId, facts), createdAtMs)) {
    const periodMs = match.span === null ? 0 : periodMsOf(match, createdAtMs);
    const key = JSON.stringify([tenantId, match.valueKey, periodMs]);
    const having = havings.get(key) ?? { tenantId, match, periodMs, held: { usd: 0n, tokens: 0n, requests: 0n, concurrent: 0n } };
    havings.set(key, having);
    const amounts = { usd: hold.amountNano, tokens: BigInt(facts.inputTokens + facts.maxOutputTokens), requests: 1n, concurrent: 1n };
    for (const metric of METRICS)
      having.held[metric] += claimHeldBy(hold, { counter: '', metric, window: { kind: 'fixed', endsAtMs: null }, amount: amounts[metric] });
  }
}

/** Of a rolling window everything that was ever kept counts here: more than there is at most, which comes back when somebody looks at it. */
async function excessOfHavings(tx: Sql, havings: readonly Having[]): Promise<Excess[]> {
  if (havings.length === 0) return [];
  const rows = await tx.query<Pick<CounterRow, 'used_nano' | 'used_tokens' | 'used_requests'> & { position: bigint }>(
    `SELECT n.position, coalesce(sum(c.used_nano), 0)::bigint AS used_nano, coalesce(sum(c.used_tokens), 0)::bigint AS used_tokens,
       coalesce(sum(c.used_requests), 0)::bigint AS used_requests
     FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[]) WITH ORDINALITY AS n (tenant_id, budget_key, value_key, period_ms, position)
     LEFT JOIN quota.counter c ON c.tenant_id = n.tenant_id AND c.budget_key = n.budget_key AND c.value_key = n.value_key AND (n.period_ms = 0 OR c.period_ms = n.period_ms)
     GROUP BY n.position`,
    [
      textArray(havings.map(({ tenantId }) => tenantId)),
      textArray(havings.map(({ match }) => match.rule.key)),
      textArray(havings.map(({ match }) => match.valueKey)),
      plainArray(havings.map(({ periodMs }) => periodMs)),
    ],
  );
  return rows.flatMap((row) => {
    const having = havings[Number(row.position) - 1];
    if (having === undefined) return [];
    const { match, tenantId, held } = having;
    const used = { usd: row.used_nano, tokens: row.used_tokens, requests: row.used_requests, concurrent: 0n };
    const endsAtMs = match.span?.endsAtMs ?? null;
    return METRICS.flatMap((metric) => excessOf(match.rule.budget, counterKey(match, metric), tenantId, used[metric] + held[metric], endsAtMs));
  });
}
