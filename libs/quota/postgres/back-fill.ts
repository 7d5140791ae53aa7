/**
 * The back-fill of one budget. The sums and the number of the tenant's last booking are read in one snapshot, so the sums are exactly those
 * of the bookings up to that number; later ones are in quota.warming_delta. Both meet in a transaction in which nothing is posted.
 */
import { plainArray, textArray } from '#libs/platform/postgres/array-literal.js';
import type { Database, Sql } from '#libs/platform/postgres/database.js';
import type { PostedSpend, PostedSpendReader } from '#libs/metering/index.js';
import type { BudgetStore } from '../application/budget-store.js';
import { isShared, type Attributes, type Budget } from '../domain/budget.js';
import { bucketMsOf, oldestBucket } from '../domain/limit.js';
import { ALL_VALUES, periodMsOf, ruleOf, RuleSet, slotMsOf } from '../domain/match-budgets.js';
import { ownPlace } from '../domain/placement.js';
import { isRequest, tokensOf } from '../domain/usage-amounts.js';
import { expiryOf, type CounterRow } from './counter-rows.js';
import { noteExcess } from './lease-rows.js';
import { excessOfRow } from './leave-shared.js';

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

/** What was booked of one tenant, and the number of its last booking in it. */
interface Part {
  readonly tenantId: string;
  readonly seq: bigint;
  readonly sums: readonly Sum[];
}

export interface BackFillInput {
  readonly database: Database;
  readonly events: PostedSpendReader;
  readonly store: BudgetStore;
  /** Everybody's bookings count for a budget that all tenants share: the ids of all tenants. */
  readonly tenantIds: () => Promise<readonly string[]>;
}

export async function backFill({ database, events, store, tenantIds }: BackFillInput, budget: Budget, nowMs: number): Promise<boolean> {
  const shared = isShared(budget);
  const parts: Part[] = [];
  for (const tenantId of shared ? await tenantIds() : [budget.tenantId]) parts.push(await partOf(database, events, budget, tenantId, nowMs));
  return await store.change(budget.tenantId, async (tx) => {
    const now = await store.find(tx, budget.tenantId, budget.budgetId);
    if (now === null || now.version !== budget.version || !now.warming) return { changed: false, result: false };
    // Tenants that are newer than the list have booked nothing that was not put aside.
    const others = shared ? await tenantsPutAside(tx, budget, new Set(parts.map(({ tenantId }) => tenantId))) : [];
    for (const part of [...parts, ...others]) {
      if (shared) await leaveBackFilled(tx, budget, part);
      await write(tx, budget, part, !shared);
      if (shared) await noteBackFilled(tx, budget, part.tenantId);
    }
    await store.save(tx, { ...now, warming: false }, null);
    return { changed: true, result: true };
  });
}

async function partOf(database: Database, events: PostedSpendReader, budget: Budget, tenantId: string, nowMs: number): Promise<Part> {
  return await database.transaction(async (tx) => {
    const [tally] = await tx.query<{ seq: bigint }>('SELECT seq FROM quota.tally WHERE tenant_id = $1', [tenantId]);
    return { tenantId, seq: tally?.seq ?? 0n, sums: [...(await sumUp(tx, events, budget, tenantId, nowMs)).values()] };
  }, 'REPEATABLE READ');
}

async function tenantsPutAside(tx: Sql, budget: Budget, known: ReadonlySet<string>): Promise<Part[]> {
  const rows = await tx.query<{ tenant_id: string }>('SELECT DISTINCT tenant_id FROM quota.warming_delta WHERE budget_key = $1', [ruleOf(budget, [], []).key]);
  return rows.filter((row) => !known.has(row.tenant_id)).map((row) => ({ tenantId: row.tenant_id, seq: 0n, sums: [] }));
}

/** For the sum over all tenants, as a posting would have left it. */
async function leaveBackFilled(tx: Sql, budget: Budget, { tenantId, seq, sums }: Part): Promise<void> {
  await tx.execute(
    `INSERT INTO quota.shared_delta (budget_key, period_ms, value_key, "values", used_nano, used_tokens, used_requests)
     SELECT $1, n.* FROM unnest($2::bigint[], $3::text[], $4::jsonb[], $5::bigint[], $6::bigint[], $7::bigint[]) AS n
     UNION ALL SELECT $1, period_ms, value_key, "values", used_nano, used_tokens, used_requests FROM quota.warming_delta
       WHERE tenant_id = $8 AND budget_key = $1 AND seq > $9`,
    [
      ruleOf(budget, [], []).key,
      plainArray(sums.map(({ periodMs }) => periodMs)),
      textArray(sums.map(({ valueKey }) => valueKey)),
      textArray(sums.map(({ values }) => JSON.stringify(values))),
      plainArray(sums.map(({ nano }) => nano)),
      plainArray(sums.map(({ tokens }) => tokens)),
      plainArray(sums.map(({ requests }) => requests)),
      tenantId,
      seq,
    ],
  );
}

/** Nobody was granted what was booked before: the pools count it before they grant anything. */
async function noteBackFilled(tx: Sql, budget: Budget, tenantId: string): Promise<void> {
  const rule = ruleOf(budget, [], []);
  const spans = new RuleSet([]);
  const rows = await tx.query<CounterRow>(
    `SELECT value_key, CASE WHEN $3 THEN 0 ELSE period_ms END AS period_ms, sum(used_nano)::bigint AS used_nano, sum(used_tokens)::bigint AS used_tokens,
       sum(used_requests)::bigint AS used_requests
     FROM quota.counter WHERE tenant_id = $1 AND budget_key = $2 GROUP BY 1, 2`,
    [tenantId, rule.key, budget.period.kind === 'rolling'],
  );
  const excess = rows.flatMap((row) => excessOfRow({ rule, valueKey: row.value_key, span: spans.spanAt(budget, Number(row.period_ms)) }, tenantId, row));
  await noteExcess(tx, excess);
}

async function sumUp(tx: Sql, events: PostedSpendReader, budget: Budget, tenantId: string, nowMs: number): Promise<Map<string, Sum>> {
  const set = new RuleSet([ruleOf(budget, [], [])]);
  const sums = new Map<string, Sum>();
  const { period } = budget;
  const fromMs = period.kind === 'rolling' ? oldestBucket(nowMs, bucketMsOf(period.seconds)) : (set.spanAt(budget, nowMs)?.startsAtMs ?? 0);
  let after: string | null = null;
  do {
    const page = await events.page(tx, { tenantId, receivedFrom: new Date(Math.max(0, fromMs - AHEAD_MS)), after, limit: PAGE });
    const places = await rememberedPlaces(tx, tenantId, page.events);
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

async function write(tx: Sql, budget: Budget, { tenantId, sums, seq }: Part, names: boolean): Promise<void> {
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
    [tenantId, key, ...columns, seq],
  );
  // Of a shared budget they are named when all tenants are added up.
  const named = names ? sums.filter(({ valueKey }) => valueKey !== ALL_VALUES) : [];
  await tx.execute(
    `INSERT INTO quota.counter_value (tenant_id, budget_key, slot_ms, value_key, "values", expires_ms)
     SELECT $1, $2, slot_ms, value_key, named, expires_ms FROM unnest($3::bigint[], $4::text[], $5::jsonb[], $6::bigint[]) AS n (slot_ms, value_key, named, expires_ms) ON CONFLICT DO NOTHING`,
    [
      tenantId,
      key,
      plainArray(named.map(({ slotMs }) => slotMs)),
      textArray(named.map(({ valueKey }) => valueKey)),
      textArray(named.map(({ values }) => JSON.stringify(values))),
      plainArray(named.map(({ expiresMs }) => expiresMs)),
    ],
  );
  await tx.execute('DELETE FROM quota.warming_delta WHERE tenant_id = $1 AND budget_key = $2', [tenantId, key]);
}
