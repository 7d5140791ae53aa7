/**
 * What PostgreSQL knows of tenants, in one REPEATABLE READ snapshot: balance and sequence, open holds with everything booked on them,
 * calls that ended lately, and what was promised ahead. A promise of an older epoch that left no hold becomes a fence hold: it counts as
 * held for one TTL and is then released by itself. Run again in the same epoch it changes nothing.
 */
import { DAY_MS, MINUTE_MS, newUuid } from '#libs/kernel/index.js';
import { plainArray, textArray } from '#libs/platform/postgres/array-literal.js';
import type { Database, Sql } from '#libs/platform/postgres/database.js';
import type { CeilingRaise } from '../application/ceiling-raises.js';
import type { FundingSource } from '../application/ports.js';
import type { TenantSnapshot } from '../application/quota-store.js';
import type { TenantRules } from '../application/rule-book.js';
import { attributesOf, captureHold, isUncharged, NOT_PROMISED, type Hold } from '../domain/hold.js';
import { claimsFor } from '../domain/match-budgets.js';
import { readLiveCounters } from './counter-rows.js';
import { assertEpoch, assertNodeEpochs } from './epoch.js';
import { loadLeases } from './lease-rows.js';
import { BELONGS_TO_HOLD, fromHoldRow, writeHolds, type HoldRow } from './hold-rows.js';

interface Reserve {
  readonly tenant_id: string;
  readonly ceiling_nano: bigint;
  readonly recorded_nano: bigint;
  readonly epoch: bigint;
  readonly sealed: boolean;
  readonly fenced_until: Date | null;
}

const RECENT_MS = 15 * MINUTE_MS;
/** Later than this no event is admitted that could still settle an unresolved hold. */
const LATE_EVENT_MS = 35 * DAY_MS;
const CAPTURES_KEPT_MS = 2 * DAY_MS;
const FORGET_ROUND = 10_000;

export interface SnapshotInput {
  readonly tenantIds: readonly string[];
  readonly epoch: bigint;
  /** Several processes promise from a store whose server has the epoch. */
  readonly shared: boolean;
  readonly now: Date;
  /** How long a lost promise is covered. */
  readonly fenceTtlMs: number;
  /** Each tenant's rules as the snapshot has them. */
  readonly rules: (tx: Sql, tenantIds: readonly string[]) => Promise<ReadonlyMap<string, TenantRules>>;
}

/** @throws DomainError storage.unavailable, quota.stale_epoch */
export async function readTenantSnapshots(database: Database, funding: FundingSource, input: SnapshotInput): Promise<TenantSnapshot[]> {
  const ids = [...new Set(input.tenantIds)].sort();
  // Before the snapshot is taken: a hold that is committed under the old epoch is then either in it or refused.
  if (input.shared) {
    await database.transaction(async (tx) => {
      await assertNodeEpochs(tx, [input.epoch]);
      await fenceLostPromises(tx, await takeReserves(tx, ids, input.epoch, new Date(input.now.getTime() + input.fenceTtlMs)), input);
    });
  }
  return await database.transaction(async (tx) => {
    await (input.shared ? assertNodeEpochs(tx, [input.epoch]) : assertEpoch(tx, input.epoch));
    const reserves = await takeReserves(tx, ids, input.epoch, new Date(input.now.getTime() + input.fenceTtlMs));
    const wallets = await funding.wallets(tx, ids);
    const holds = await readOpenHolds(tx, ids, input.now);
    const recent = await readRecentCalls(tx, ids, input.now);
    const rules = await input.rules(tx, ids);
    const counters = await readLiveCounters(tx, rules, input.now.getTime());
    const booked = await readTallies(tx, ids);
    const fences = await fenceLostPromises(tx, reserves, input);
    const reserveOf = new Map(reserves.map((reserve) => [reserve.tenant_id, reserve]));
    const fenceOf = new Map(fences.map((fence) => [fence.tenantId, fence]));
    const snapshots = ids.map((tenantId): TenantSnapshot => {
      const wallet = wallets.get(tenantId);
      const reserve = reserveOf.get(tenantId);
      const ceilingNano = reserve?.ceiling_nano ?? 0n;
      const own = rules.get(tenantId);
      const fence = fenceOf.get(tenantId);
      return {
        tenantId,
        seq: wallet?.seq ?? 0n,
        postedNano: wallet?.postedNano ?? 0n,
        holds: [...(holds.get(tenantId) ?? []).map((hold) => (own ? withClaims(hold, own) : hold)), ...(fence ? [fence] : [])],
        recentCalls: recent.get(tenantId) ?? [],
        // What was promised before is either a hold, a fence or over: promising goes on from the ceiling.
        promisedNano: ceilingNano,
        ceilingNano,
        bookedSeq: booked.get(tenantId) ?? 0n,
        rulesRevision: own?.revision ?? 0,
        counters: counters.get(tenantId) ?? [],
        fencedUntilMs: reserve === undefined ? 0 : fencedUntil(reserve, input),
      };
    });
    const leases = await loadLeases(tx, snapshots, rules, { epoch: input.epoch, nowMs: input.now.getTime() });
    return leases.size === 0 ? snapshots : snapshots.map((snapshot) => ({ ...snapshot, leases: leases.get(snapshot.tenantId) }));
  }, 'REPEATABLE READ');
}

/** Hands the rows over to this epoch, makes those of new tenants, and answers them as they were before. */
async function takeReserves(tx: Sql, tenantIds: readonly string[], epoch: bigint, fencedUntilAt: Date): Promise<Reserve[]> {
  const taken = await tx.query<Reserve>(TAKE_RESERVES, [textArray(tenantIds), epoch, fencedUntilAt]);
  if (taken.length === tenantIds.length) return taken;
  const known = new Set(taken.map((reserve) => reserve.tenant_id));
  const made = await tx.query<Reserve>(MAKE_RESERVES, [textArray(tenantIds.filter((tenantId) => !known.has(tenantId))), epoch]);
  return [...taken, ...made];
}

const TAKE_RESERVES = `WITH before AS (SELECT * FROM quota.reserve WHERE tenant_id = ANY($1::text[]) ORDER BY tenant_id FOR UPDATE), taken AS (
       UPDATE quota.reserve r SET epoch = $2, recorded_nano = r.ceiling_nano, sealed = false,
         fenced_until = CASE WHEN before.sealed THEN r.fenced_until ELSE $3 END
       FROM before WHERE r.tenant_id = before.tenant_id AND before.epoch <> $2)
     SELECT * FROM before`;

const MAKE_RESERVES = `INSERT INTO quota.reserve (tenant_id, ceiling_nano, epoch, sealed) SELECT named, 0, $2, false FROM unnest($1::text[]) AS named ORDER BY named
     ON CONFLICT DO NOTHING RETURNING *`;

/** Until when promises on counters may be lost: those of a process that did not end in order, or that an earlier load found. */
function fencedUntil(reserve: Reserve, input: SnapshotInput): number {
  if (reserve.epoch !== input.epoch && !reserve.sealed) return input.now.getTime() + input.fenceTtlMs;
  return reserve.fenced_until?.getTime() ?? 0;
}

/** A hold keeps what it counts for by the rules of now: a budget that is newer than the hold counts it too. */
function withClaims(hold: Hold, { set }: TenantRules): Hold {
  if (hold.facts === null) return hold;
  const { facts } = hold;
  const matches = set.match(attributesOf(hold.tenantId, facts), hold.createdAtMs);
  const tokens = BigInt(facts.inputTokens + facts.maxOutputTokens);
  const claims = claimsFor(matches, { amountNano: hold.amountNano, tokens, critical: false, enforce: true });
  return { ...hold, claims: claims.map(({ counter, metric, window, amount }) => ({ counter, metric, window, amount })) };
}

/** Tenants that got past an unreachable store before they ever asked it: what is booked for them looks for their calls from now on. */
export async function rememberAskers(tx: Sql, tenantIds: readonly string[]): Promise<void> {
  if (tenantIds.length === 0) return;
  await tx.execute(
    'INSERT INTO quota.reserve (tenant_id, ceiling_nano, epoch, sealed) SELECT DISTINCT named, 0, 0, true FROM unnest($1::text[]) AS named ORDER BY named ON CONFLICT DO NOTHING',
    [textArray(tenantIds)],
  );
}

async function readTallies(tx: Sql, tenantIds: readonly string[]): Promise<Map<string, bigint>> {
  const rows = await tx.query<{ tenant_id: string; seq: bigint }>(
    { name: 'quota.tallies', text: 'SELECT tenant_id, seq FROM quota.tally WHERE tenant_id = ANY($1::text[])' },
    [textArray(tenantIds)],
  );
  return new Map(rows.map((row) => [row.tenant_id, row.seq]));
}

async function fenceLostPromises(tx: Sql, reserves: readonly Reserve[], input: SnapshotInput): Promise<Hold[]> {
  const fences = reserves.flatMap((reserve) => fenceFor(reserve, input));
  await writeHolds(tx, [], fences);
  return fences;
}

function fenceFor(reserve: Reserve, input: SnapshotInput): Hold[] {
  const lostNano = reserve.ceiling_nano - reserve.recorded_nano;
  if (reserve.epoch === input.epoch || lostNano <= 0n) return [];
  return [
    {
      holdId: newUuid(input.now),
      tenantId: reserve.tenant_id,
      kind: 'fence',
      state: 'active',
      resolution: null,
      amountNano: lostNano,
      capturedNano: 0n,
      capturedTokens: 0n,
      capturedRequests: 0n,
      claims: [],
      callDigest: null,
      bodyHash: null,
      policy: 'release',
      createdAtMs: input.now.getTime(),
      expiresAtMs: input.now.getTime() + input.fenceTtlMs,
      resolvedAtMs: null,
      facts: null,
    },
  ];
}

// Not named: the plan that fits a table of few holds would be kept while it grows.
async function readOpenHolds(tx: Sql, tenantIds: readonly string[], now: Date): Promise<Map<string, Hold[]>> {
  const rows = await tx.query<HoldRow & { booked_nano: bigint; booked_tokens: bigint; booked_requests: bigint; closed: boolean }>(
    `SELECT h.*, coalesce(c.booked, 0)::bigint AS booked_nano, coalesce(c.tokens, 0)::bigint AS booked_tokens, coalesce(c.requests, 0)::bigint AS booked_requests,
       coalesce(c.closed, false) AS closed
     FROM quota.hold h LEFT JOIN LATERAL (
       SELECT sum(c.sign * c.charge_nano) AS booked, sum(c.sign * c.tokens) AS tokens, sum(c.sign * c.requests) AS requests, bool_or(c.closes) AS closed FROM quota.capture c WHERE ${BELONGS_TO_HOLD}) c ON true
     WHERE h.tenant_id = ANY($1::text[]) AND (h.state = 'active' OR (h.state = 'unresolved' AND h.policy <> 'release' AND h.resolution = 'expired'))`,
    [textArray(tenantIds)],
  );
  const byTenant = new Map<string, Hold[]>();
  const closed: Hold[] = [];
  for (const row of rows) {
    const booked = { nano: row.booked_nano, tokens: row.booked_tokens, requests: row.booked_requests };
    const hold = captureHold({ ...fromHoldRow(row), capturedNano: 0n }, booked, row.closed, now.getTime());
    if (row.closed) closed.push(hold);
    // Closed while nobody watched: what it kept is spent already.
    if (row.closed || (hold.state !== 'active' && !isUncharged(hold))) continue;
    byTenant.set(row.tenant_id, [...(byTenant.get(row.tenant_id) ?? []), hold]);
  }
  await writeHolds(tx, closed, []);
  return byTenant;
}

async function readRecentCalls(tx: Sql, tenantIds: readonly string[], now: Date): Promise<Map<string, { callDigest: string; resolvedAtMs: number }[]>> {
  const rows = await tx.query<{ tenant_id: string; call_digest: Buffer; resolved_at: Date }>(
    `SELECT tenant_id, call_digest, resolved_at FROM quota.hold
     WHERE tenant_id = ANY($1::text[]) AND call_digest IS NOT NULL AND state <> 'active' AND resolved_at >= $2 AND resolution IS DISTINCT FROM $3`,
    [textArray(tenantIds), new Date(now.getTime() - RECENT_MS), NOT_PROMISED],
  );
  const byTenant = new Map<string, { callDigest: string; resolvedAtMs: number }[]>();
  for (const row of rows) {
    const call = { callDigest: row.call_digest.toString('hex'), resolvedAtMs: row.resolved_at.getTime() };
    byTenant.set(row.tenant_id, [...(byTenant.get(row.tenant_id) ?? []), call]);
  }
  return byTenant;
}

/** Commits higher ceilings, and how much of what was promised has reached quota.hold. */
export async function commitCeilings(sql: Sql, epoch: bigint, raises: readonly CeilingRaise[]): Promise<ReadonlySet<string>> {
  // In the order of ids, as every writer of several tenants' rows.
  const sorted = raises.toSorted((a, b) => (a.tenantId < b.tenantId ? -1 : 1));
  const rows = await sql.query<{ tenant_id: string }>(
    {
      name: 'quota.raise-ceilings',
      text: `WITH asked AS (SELECT * FROM unnest($2::text[], $3::bigint[], $4::bigint[]) AS a (tenant_id, ceiling_nano, recorded_nano)),
                  held AS (SELECT r.tenant_id FROM quota.reserve r JOIN asked USING (tenant_id) WHERE r.epoch = $1 ORDER BY r.tenant_id FOR UPDATE OF r)
             UPDATE quota.reserve r SET ceiling_nano = greatest(r.ceiling_nano, a.ceiling_nano),
                    recorded_nano = greatest(r.recorded_nano, least(a.recorded_nano, greatest(r.ceiling_nano, a.ceiling_nano)))
             FROM asked a JOIN held USING (tenant_id) WHERE r.tenant_id = a.tenant_id RETURNING r.tenant_id`,
    },
    [
      epoch,
      textArray(sorted.map((raise) => raise.tenantId)),
      plainArray(sorted.map((raise) => raise.ceilingNano)),
      plainArray(sorted.map((raise) => raise.recordedNano)),
    ],
  );
  return new Set(rows.map((row) => row.tenant_id));
}

/** After a clean stop nothing promised is without a trace: the next start has no lost promise to cover. */
export async function sealCeilings(sql: Sql, epoch: bigint): Promise<void> {
  await sql.execute('UPDATE quota.reserve SET recorded_nano = ceiling_nano, sealed = true WHERE epoch = $1 AND (recorded_nano <> ceiling_nano OR NOT sealed)', [
    epoch,
  ]);
}

/**
 * A late event that was booked in the very moment in which its hold ran out found no unresolved row to settle: done here, a moment later.
 * Looks at holds that ran out after `since`.
 */
export async function settleMissed(sql: Sql, since: Date): Promise<number> {
  return await sql.execute(
    `UPDATE quota.hold h SET state = 'settled', resolution = 'late_event'
     WHERE h.state = 'unresolved' AND h.resolved_at > $1 AND EXISTS (SELECT FROM quota.capture c WHERE c.closes AND ${BELONGS_TO_HOLD})`,
    [since],
  );
}

/** Captures only serve holds that are still open, and ended holds only those who ask for them: both are forgotten in rounds. */
export async function forgetHolds(sql: Sql, now: Date): Promise<void> {
  const rounds = [
    `DELETE FROM quota.capture WHERE (tenant_id, event_id, sign) IN (
       SELECT c.tenant_id, c.event_id, c.sign FROM quota.capture c WHERE c.posted_at < $1 AND NOT EXISTS (
         SELECT FROM quota.hold h WHERE h.tenant_id = c.tenant_id AND h.state IN ('active', 'unresolved') AND h.created_at > $2 AND ${BELONGS_TO_HOLD}) LIMIT $3)`,
    `DELETE FROM quota.hold WHERE hold_id IN (
       SELECT hold_id FROM quota.hold WHERE state IN ('settled', 'released') AND resolved_at < least($1::timestamptz, $2::timestamptz) LIMIT $3)`,
  ];
  const bounds = [new Date(now.getTime() - CAPTURES_KEPT_MS), new Date(now.getTime() - LATE_EVENT_MS), FORGET_ROUND];
  for (const round of rounds) while ((await sql.execute(round, bounds)) === FORGET_ROUND);
}

/** Tenants that have holds past their end, or unresolved ones nobody charged yet. */
export async function tenantsToSweep(sql: Sql, now: Date, limit: number): Promise<string[]> {
  const rows = await sql.query<{ tenant_id: string }>(
    `(SELECT tenant_id FROM quota.hold WHERE state = 'active' AND expires_at < $1 ORDER BY expires_at LIMIT $2)
     UNION
     (SELECT tenant_id FROM quota.hold WHERE state = 'unresolved' AND policy <> 'release' AND resolution = 'expired' LIMIT $2)`,
    [now, limit],
  );
  return rows.map((row) => row.tenant_id);
}
