/**
 * The back-fill of one budget. The sums and the number of the tenant's last booking are read in one snapshot, so the sums are exactly those
 * of the bookings up to that number; later ones are in quota.warming_delta. Both meet in a transaction in which nothing is posted.
 */
import { plainArray, textArray } from '#libs/platform/postgres/array-literal.js';
import type { Database, Sql } from '#libs/platform/postgres/database.js';
import type { PostedSpend, PostedSpendReader } from '#libs/metering/index.js';
import type { BudgetStore } from '../application/budget-store.js';
import type { Attributes, Budget } from '../domain/budget.js';
import { bucketMsOf, oldestBucket } from '../domain/limit.js';
import { ALL_VALUES, periodMsOf, ruleOf, RuleSet, slotMsOf } from '../domain/match-budgets.js';
import { ownPlace } from '../domain/placement.js';
import { isRequest, tokensOf } from '../domain/usage-amounts.js';
import { expiryOf } from './counter-rows.js';

const PAGE = 5_000;
/** Events may be dated so far ahead of their receipt. */
const AHEAD_MS = 5 * 60_000;

interface Sum {
  readonly periodMs: number;
  readonly slotMs: number;
  readonly valueKey: string;
  readonly expiresMs: number | null;
  readonly values: Readonly<Record<string, string>>;
  nano: bigint;
  tokens: bigint;
  requests: bigint;
}

export async function backFill(database: Database, events: PostedSpendReader, store: BudgetStore, budget: Budget, nowMs: number): Promise<boolean> {
  const { seq, sums } = await database.transaction(async (tx) => {
    await tx.execute('SET TRANSACTION ISOLATION LEVEL REPEATABLE READ');
    const [tally] = await tx.query<{ seq: bigint }>('SELECT seq FROM quota.tally WHERE tenant_id = $1', [budget.tenantId]);
    return { seq: tally?.seq ?? 0n, sums: await sumUp(tx, events, budget, nowMs) };
  });
  return await store.change(budget.tenantId, async (tx) => {
    const now = await store.find(tx, budget.tenantId, budget.budgetId);
    if (now === null || now.version !== budget.version || !now.warming) return { changed: false, result: false };
    await write(tx, budget, [...sums.values()], seq);
    await store.save(tx, { ...now, warming: false }, null);
    return { changed: true, result: true };
  });
}

async function sumUp(tx: Sql, events: PostedSpendReader, budget: Budget, nowMs: number): Promise<Map<string, Sum>> {
  const set = new RuleSet([ruleOf(budget, [], [])]);
  const sums = new Map<string, Sum>();
  const { period } = budget;
  const fromMs = period.kind === 'rolling' ? oldestBucket(nowMs, bucketMsOf(period.seconds)) : (set.spanAt(budget, nowMs)?.startsAtMs ?? 0);
  let after: string | null = null;
  do {
    const page = await events.page(tx, { tenantId: budget.tenantId, receivedFrom: new Date(Math.max(0, fromMs - AHEAD_MS)), after, limit: PAGE });
    const places = await rememberedPlaces(tx, budget.tenantId, page.events);
    for (const event of page.events) addEvent(sums, set, event, places.get(event.eventId) ?? ownPlace(event));
    after = page.last;
  } while (after !== null);
  return sums;
}

function addEvent(sums: Map<string, Sum>, set: RuleSet, event: PostedSpend, place: { readonly atMs: number; readonly call: Attributes }): void {
  for (const match of set.match(place.call, place.atMs)) {
    const periodMs = periodMsOf(match, place.atMs);
    const key = `${periodMs} ${match.valueKey}`;
    let sum = sums.get(key);
    if (!sum) {
      const values = Object.fromEntries(match.rule.budget.per.map((attribute) => [attribute, place.call[attribute] ?? '']));
      const slotMs = slotMsOf(match.rule.budget, match.span, place.atMs);
      sums.set(
        key,
        (sum = {
          periodMs,
          slotMs,
          valueKey: match.valueKey,
          expiresMs: expiryOf(match.rule.budget, match.span, periodMs),
          values,
          nano: 0n,
          tokens: 0n,
          requests: 0n,
        }),
      );
    }
    sum.nano += event.chargeNano;
    sum.tokens += tokensOf(event.usage);
    if (isRequest(event)) sum.requests += 1n;
  }
}

async function rememberedPlaces(tx: Sql, tenantId: string, events: readonly PostedSpend[]): Promise<Map<string, { atMs: number; call: Attributes }>> {
  if (events.length === 0) return new Map();
  const rows = await tx.query<{ event_id: string; at: Date; call: Attributes }>(
    'SELECT event_id, at, "call" FROM quota.placement WHERE tenant_id = $1 AND event_id = ANY($2::uuid[])',
    [tenantId, plainArray(events.map((event) => event.eventId))],
  );
  return new Map(rows.map((row) => [row.event_id, { atMs: row.at.getTime(), call: row.call }]));
}

async function write(tx: Sql, budget: Budget, sums: readonly Sum[], seq: bigint): Promise<void> {
  const { key } = ruleOf(budget, [], []);
  const columns = [
    plainArray(sums.map(({ periodMs }) => periodMs)),
    textArray(sums.map(({ valueKey }) => valueKey)),
    plainArray(sums.map(({ nano }) => nano)),
    plainArray(sums.map(({ tokens }) => tokens)),
    plainArray(sums.map(({ requests }) => requests)),
    plainArray(sums.map(({ expiresMs }) => expiresMs)),
  ];
  await tx.execute(
    `INSERT INTO quota.counter (tenant_id, budget_key, period_ms, value_key, used_nano, used_tokens, used_requests, expires_ms)
     SELECT $1, $2, period_ms, value_key, sum(nano), sum(tokens), sum(requests), max(expires_ms) FROM (
       SELECT * FROM unnest($3::bigint[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[]) AS n (period_ms, value_key, nano, tokens, requests, expires_ms)
       UNION ALL SELECT period_ms, value_key, used_nano, used_tokens, used_requests, expires_ms FROM quota.warming_delta
         WHERE tenant_id = $1 AND budget_key = $2 AND seq > $9
     ) booked GROUP BY period_ms, value_key`,
    [budget.tenantId, key, ...columns, seq],
  );
  const named = sums.filter(({ valueKey }) => valueKey !== ALL_VALUES);
  await tx.execute(
    `INSERT INTO quota.counter_value (tenant_id, budget_key, slot_ms, value_key, "values", expires_ms)
     SELECT $1, $2, slot_ms, value_key, named, expires_ms FROM unnest($3::bigint[], $4::text[], $5::jsonb[], $6::bigint[]) AS n (slot_ms, value_key, named, expires_ms) ON CONFLICT DO NOTHING`,
    [
      budget.tenantId,
      key,
      plainArray(named.map(({ slotMs }) => slotMs)),
      textArray(named.map(({ valueKey }) => valueKey)),
      textArray(named.map(({ values }) => JSON.stringify(values))),
      plainArray(named.map(({ expiresMs }) => expiresMs)),
    ],
  );
  await tx.execute('DELETE FROM quota.warming_delta WHERE tenant_id = $1 AND budget_key = $2', [budget.tenantId, key]);
}
