/**
 * Leases as postings and loads see them. Both note tenants that have used more than they were granted, without touching the pools: whoever
 * grants next adds it first. A tenant's load gives every lease of it a new number, so that whatever was under way with the old one ends
 * without effect, and fences what a lost store may have promised of it.
 */
import { plainArray, textArray } from '#libs/platform/postgres/array-literal.js';
import type { Sql } from '#libs/platform/postgres/database.js';
import type { TenantLeases, TenantSnapshot } from '../application/quota-store.js';
import type { TenantRules } from '../application/rule-book.js';
import { isShared, leasedPercents, percentOf, type Budget } from '../domain/budget.js';
import { claimHeldBy } from '../domain/hold.js';
import { counterOfLease, leaseKey, parseLease, type LeaseGrant } from '../domain/lease.js';
import { oldestBucket, type Window } from '../domain/limit.js';
import { limitsOf, type Rule } from '../domain/match-budgets.js';

const LARGEST = 9_000_000_000_000_000n;
/** As long as stores keep the leases of a period that is over. */
const GRACE_MS = 3_600_000;

export interface Excess {
  readonly lease: string;
  readonly tenantId: string;
  readonly committed: bigint;
  readonly endsAtMs: number | null;
}

/** What a counter's leases have to cover: one for each percent at which something happens. */
export function excessOf(budget: Budget, counter: string, tenantId: string, committed: bigint, endsAtMs: number | null): Excess[] {
  return committed <= 0n ? [] : leasedPercents(budget).map((percent) => ({ lease: leaseKey(counter, percent), tenantId, committed, endsAtMs }));
}

/** Notes those that are more than was granted. */
export async function noteExcess(tx: Sql, rows: readonly Excess[]): Promise<void> {
  if (rows.length === 0) return;
  await tx.execute(
    {
      name: 'quota.note-excess',
      text: `INSERT INTO quota.lease_excess (lease_key, tenant_id, committed, ends_ms)
             SELECT n.* FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[]) AS n (lease_key, tenant_id, committed, ends_ms)
             LEFT JOIN quota.lease l ON l.tenant_id = n.tenant_id AND l.lease_key = n.lease_key WHERE n.committed > coalesce(l.granted, 0)`,
    },
    [
      textArray(rows.map(({ lease }) => lease)),
      textArray(rows.map(({ tenantId }) => tenantId)),
      plainArray(rows.map(({ committed }) => committed)),
      plainArray(rows.map(({ endsAtMs }) => endsAtMs)),
    ],
  );
}

/** How much of a shared budget may be leased under that name; null where no budget counts so. */
export function poolLimitOf(rules: readonly Rule[], lease: string): { rule: Rule; limit: bigint } | null {
  const name = parseLease(lease);
  const rule = name === null ? undefined : rules.find(({ key, budget }) => key === name.ruleKey && isShared(budget));
  if (name === null || rule === undefined) return null;
  const span = name.startsAtMs === null ? null : { startsAtMs: name.startsAtMs, endsAtMs: null };
  const limits = limitsOf({ rule, valueKey: name.valueKey, span });
  const limit = { usd: limits.usdNano, tokens: limits.tokens, requests: limits.requests, concurrent: limits.concurrent }[name.metric];
  if (limit === null) return null;
  const part = percentOf(limit, name.percent);
  return { rule, limit: part > LARGEST ? LARGEST : part };
}

/** What is given out of pools, and what tenants have used beyond it. */
export async function readLeased(sql: Sql, leases: readonly string[]): Promise<Map<string, bigint>> {
  const rows = await sql.query<{ lease_key: string; granted: bigint }>('SELECT lease_key, granted FROM quota.lease_pool WHERE lease_key = ANY($1::text[])', [
    textArray(leases),
  ]);
  return new Map(rows.map((row) => [row.lease_key, row.granted]));
}

interface LeaseRow {
  tenant_id: string;
  lease_key: string;
  granted: bigint;
  fenced: bigint;
  version: bigint;
  epoch: bigint;
  ends_ms: bigint | null;
  pool_granted: bigint | null;
}

/** The leases of tenants that are being loaded, in the snapshot of the load; absent of those that share nothing. */
export async function loadLeases(
  tx: Sql,
  loaded: readonly Omit<TenantSnapshot, 'leases'>[],
  rules: ReadonlyMap<string, TenantRules>,
  input: { readonly epoch: bigint; readonly nowMs: number },
): Promise<ReadonlyMap<string, TenantLeases>> {
  const sharing = loaded.filter(({ tenantId }) => rules.get(tenantId)?.set.rules.some(({ budget }) => isShared(budget)) === true);
  if (sharing.length === 0) return new Map();
  const rows = await tx.query<LeaseRow>(
    `WITH own AS (SELECT tenant_id, lease_key FROM quota.lease WHERE tenant_id = ANY($1::text[]) AND (ends_ms IS NULL OR ends_ms > $2) ORDER BY tenant_id, lease_key FOR UPDATE)
     UPDATE quota.lease l SET version = nextval('quota.lease_version') FROM own WHERE l.tenant_id = own.tenant_id AND l.lease_key = own.lease_key
     RETURNING l.tenant_id, l.lease_key, l.granted, l.fenced, l.version, l.epoch, l.ends_ms,
       (SELECT p.granted FROM quota.lease_pool p WHERE p.lease_key = l.lease_key) AS pool_granted`,
    [textArray(sharing.map(({ tenantId }) => tenantId)), input.nowMs - GRACE_MS],
  );
  // After the numbers of the rows: what was told before this load is older than it, also of leases that have no row any more.
  const [next] = await tx.query<{ from: bigint }>(`SELECT nextval('quota.lease_version') AS "from"`);
  const from = next?.from ?? 0n;
  const leases = new Map<string, TenantLeases>();
  const excess: Excess[] = [];
  const fences: (LeaseGrant & { tenantId: string })[] = [];
  for (const snapshot of sharing) {
    const { tenantId } = snapshot;
    const own = rules.get(tenantId)?.set.rules ?? [];
    const committed = committedOn(snapshot, own, input.nowMs);
    for (const { rule, counter, amount, endsAtMs } of committed.values()) excess.push(...excessOf(rule.budget, counter, tenantId, amount, endsAtMs));
    const grants = rows
      .filter((row) => row.tenant_id === tenantId)
      .map((row): LeaseGrant => {
        const known = committed.get(counterOfLease(row.lease_key))?.amount ?? 0n;
        const fenced = row.epoch === input.epoch ? row.fenced : lostOf(row, known, snapshot.fencedUntilMs > input.nowMs);
        const grant = { lease: row.lease_key, granted: row.granted, fenced, version: row.version, endsAtMs: row.ends_ms === null ? null : Number(row.ends_ms) };
        if (row.epoch !== input.epoch) fences.push({ ...grant, tenantId });
        // More is given out than the limit is by now: what lies unused must not be used.
        const isOver = (row.pool_granted ?? 0n) > (poolLimitOf(own, row.lease_key)?.limit ?? 0n);
        return isOver && known + fenced < row.granted ? { ...grant, granted: known + fenced } : grant;
      });
    leases.set(tenantId, { grants, from });
  }
  await writeFences(tx, fences, input.epoch);
  await noteExcess(tx, excess);
  return leases;
}

/** What a store that was lost may have promised of a lease without a trace: all that was left of it. */
function lostOf({ granted }: LeaseRow, known: bigint, isFenced: boolean): bigint {
  return isFenced && granted > known ? granted - known : 0n;
}

async function writeFences(tx: Sql, fences: readonly (LeaseGrant & { tenantId: string })[], epoch: bigint): Promise<void> {
  if (fences.length === 0) return;
  await tx.execute(
    `UPDATE quota.lease l SET fenced = n.fenced, epoch = $4 FROM unnest($1::text[], $2::text[], $3::bigint[]) AS n (tenant_id, lease_key, fenced)
     WHERE l.tenant_id = n.tenant_id AND l.lease_key = n.lease_key`,
    [textArray(fences.map(({ tenantId }) => tenantId)), textArray(fences.map(({ lease }) => lease)), plainArray(fences.map(({ fenced }) => fenced)), epoch],
  );
}

interface Committed {
  readonly rule: Rule;
  readonly counter: string;
  readonly endsAtMs: number | null;
  amount: bigint;
}

/** What the tenant has used and holds of each shared counter, as its store will count it. */
function committedOn(snapshot: Pick<TenantSnapshot, 'counters' | 'holds'>, rules: readonly Rule[], nowMs: number): Map<string, Committed> {
  const shared = new Map(rules.filter(({ budget }) => isShared(budget)).map((rule) => [rule.key, rule]));
  const sums = new Map<string, Committed>();
  const add = (counter: string, window: Window, amount: bigint): void => {
    const rule = shared.get(counter.slice(0, counter.indexOf('.')));
    if (rule === undefined) return;
    const sum = sums.get(counter);
    if (sum) sum.amount += amount;
    else sums.set(counter, { rule, counter, amount, endsAtMs: window.kind === 'fixed' ? window.endsAtMs : null });
  };
  for (const { counter, window, amount } of snapshot.counters) add(counter, window, amount);
  for (const hold of snapshot.holds)
    for (const claim of hold.claims) if (stillCounts(claim.window, hold.createdAtMs, nowMs)) add(claim.counter, claim.window, claimHeldBy(hold, claim));
  return sums;
}

function stillCounts(window: Window, createdAtMs: number, nowMs: number): boolean {
  if (window.kind === 'rolling') return createdAtMs >= oldestBucket(nowMs, window.bucketMs);
  return window.kind === 'fixed' || createdAtMs + window.ttlMs > nowMs;
}
