/**
 * Grants of shared limits. The pool's row is locked while anything of it is given out or taken back, and what tenants have used beyond their
 * grants is added to it first: the sum of all leases, and of what was booked outside of them, is never raised above the limit (H7).
 * Locks are taken in this order, so that nobody waits in a circle: tallies, reserves, pools, leases.
 */
import type { Clock } from '#libs/kernel/index.js';
import { plainArray, textArray } from '#libs/platform/postgres/array-literal.js';
import type { Database, Sql } from '#libs/platform/postgres/database.js';
import { LeasePools, type LoweredLease, type PoolAnswer, type PoolAsk, type TenantLease, type TouchedLease } from '../application/lease-pools.js';
import { EVERYBODY, type RuleBook } from '../application/rule-book.js';
import { bucketMsOf, oldestBucket } from '../domain/limit.js';
import { grantFrom, parseLease, type LeaseGrant } from '../domain/lease.js';
import type { Rule } from '../domain/match-budgets.js';
import { poolLimitOf } from './lease-rows.js';

interface PoolRow {
  lease_key: string;
  granted: bigint;
  holders: bigint;
}
interface LeaseRow {
  tenant_id: string;
  lease_key: string;
  granted: bigint;
  version: bigint;
}

/** What one transaction knows of the pools it has locked, and changes. */
interface Ledger {
  readonly pools: Map<string, PoolRow>;
  /** By {@link nameOf}. */
  readonly leases: Map<string, bigint>;
  readonly changed: Map<string, { readonly tenantId: string; readonly lease: string; readonly endsAtMs: number | null }>;
}

const nameOf = (tenantId: string, lease: string): string => `${lease} ${tenantId}`;

export class PostgresLeasePools extends LeasePools {
  constructor(
    private readonly database: Database,
    private readonly book: RuleBook,
    private readonly clock: Clock,
  ) {
    super();
  }

  override async grant(epoch: bigint, asks: readonly PoolAsk[]): Promise<PoolAnswer[]> {
    return await this.database.transaction(async (tx) => {
      const mine = await tenantsUnder(
        tx,
        asks.map(({ tenantId }) => tenantId),
        () => epoch,
      );
      const rules = await this.sharedRules(tx);
      const ledger = await openLedger(tx, asks);
      const decided = asks.map((ask) => (mine.has(ask.tenantId) ? decide(ledger, poolLimitOf(rules, ask.lease)?.limit ?? 0n, ask) : null));
      const rows = await writeLedger(tx, ledger, epoch, this.clock.now());
      const answers: PoolAnswer[] = [];
      for (const [index, ask] of asks.entries()) {
        const row = rows.get(nameOf(ask.tenantId, ask.lease));
        if (decided[index] === null) answers.push({ kind: 'stale' });
        else if (decided[index] === true && row !== undefined) answers.push({ kind: 'granted', grant: toGrant(row, ask.endsAtMs) });
        else answers.push(await this.deny(tx, ledger, rules, ask));
      }
      return answers;
    });
  }

  override async touch(leases: readonly TenantLease[], epochOf: (tenantId: string) => bigint | null): Promise<TouchedLease[]> {
    const asked = leases.map((lease) => ({ ...lease, epoch: epochOf(lease.tenantId) }));
    const shared = (await this.book.findInside(this.database, [EVERYBODY])).get(EVERYBODY);
    const rules = shared?.set.rules ?? [];
    const rows = await this.database.query<LeaseRow & { ends_ms: bigint | null; looked_committed: bigint | null; next: bigint; pool_granted: bigint | null }>(
      `WITH own AS (
         SELECT l.tenant_id, l.lease_key FROM unnest($1::text[], $2::text[], $3::bigint[]) AS n (tenant_id, lease_key, epoch)
         JOIN quota.reserve r ON r.tenant_id = n.tenant_id AND r.epoch = n.epoch
         JOIN quota.lease l ON l.tenant_id = n.tenant_id AND l.lease_key = n.lease_key ORDER BY l.lease_key, l.tenant_id FOR UPDATE OF l)
       UPDATE quota.lease l SET version = nextval('quota.lease_version') FROM own WHERE l.tenant_id = own.tenant_id AND l.lease_key = own.lease_key
       RETURNING l.tenant_id, l.lease_key, l.granted, l.version, l.ends_ms, l.looked_committed, nextval('quota.lease_version') AS next,
         (SELECT p.granted FROM quota.lease_pool p WHERE p.lease_key = l.lease_key) AS pool_granted`,
      [textArray(asked.map(({ tenantId }) => tenantId)), textArray(asked.map(({ lease }) => lease)), plainArray(asked.map(({ epoch }) => epoch ?? -1n))],
    );
    return rows.map((row) => ({
      tenantId: row.tenant_id,
      grant: { lease: row.lease_key, granted: row.granted, version: row.version, endsAtMs: row.ends_ms === null ? null : Number(row.ends_ms) },
      nextVersion: row.next,
      lookedCommitted: row.looked_committed,
      rulesRevision: shared?.revision ?? 0,
      isOver: (row.pool_granted ?? 0n) > (poolLimitOf(rules, row.lease_key)?.limit ?? 0n),
    }));
  }

  override async giveBack(lowered: readonly LoweredLease[], epochOf: (tenantId: string) => bigint | null): Promise<number> {
    const now = this.clock.now();
    return await this.database.transaction(async (tx) => {
      const seqs = await lockTallies(
        tx,
        lowered.map(({ touched }) => touched.tenantId),
      );
      const mine = await tenantsUnder(
        tx,
        lowered.map(({ touched }) => touched.tenantId),
        epochOf,
      );
      // What was booked since the store looked may be more than what it left.
      const sound = lowered.filter(({ touched, bookedSeq }) => mine.has(touched.tenantId) && seqs.get(touched.tenantId) === bookedSeq);
      const lower = sound.filter(({ touched, granted }) => granted < touched.grant.granted);
      await lockPools(
        tx,
        lower.map(({ touched }) => touched.grant.lease),
      );
      const taken = lower.length === 0 ? 0 : await takeBack(tx, lower);
      await noteLooks(tx, lowered, now);
      return taken;
    });
  }

  override async holders(lease: string, limit: number): Promise<TenantLease[]> {
    const rows = await this.database.query<{ tenant_id: string }>(
      `SELECT tenant_id FROM quota.lease WHERE lease_key = $1 AND granted > 0 ORDER BY granted - coalesce(looked_committed, 0) DESC LIMIT $2`,
      [lease, limit],
    );
    return rows.map((row) => ({ tenantId: row.tenant_id, lease }));
  }

  override async toLookAt(before: Date, limit: number): Promise<TenantLease[]> {
    const rows = await this.database.query<{ tenant_id: string; lease_key: string }>(
      'SELECT tenant_id, lease_key FROM quota.lease WHERE granted > 0 AND looked_at < $1 AND (ends_ms IS NULL OR ends_ms > $2) ORDER BY looked_at LIMIT $3',
      [before, this.clock.now().getTime(), limit],
    );
    return rows.map((row) => ({ tenantId: row.tenant_id, lease: row.lease_key }));
  }

  override async dropOld(leases: readonly TenantLease[]): Promise<TenantLease[]> {
    return await this.database.transaction(async (tx) => {
      const rules = await this.sharedRules(tx);
      const old = new Set(leases.map(({ lease }) => lease).filter((lease) => poolLimitOf(rules, lease) === null));
      if (old.size === 0) return [...leases];
      await lockPools(tx, [...old]);
      for (const table of ['lease_excess', 'lease', 'lease_pool'])
        await tx.execute(`DELETE FROM quota.${table} WHERE lease_key = ANY($1::text[])`, [textArray([...old])]);
      return leases.filter(({ lease }) => !old.has(lease));
    });
  }

  private async sharedRules(tx: Sql): Promise<readonly Rule[]> {
    return (await this.book.findInside(tx, [EVERYBODY])).get(EVERYBODY)?.set.rules ?? [];
  }

  private async deny(tx: Sql, { pools }: Ledger, rules: readonly Rule[], ask: PoolAsk): Promise<PoolAnswer> {
    const found = poolLimitOf(rules, ask.lease);
    if (found === null) return { kind: 'denied', room: 0n, missing: 0n, spent: false };
    const granted = pools.get(ask.lease)?.granted ?? 0n;
    const booked = await bookedOn(tx, found.rule, ask.lease, this.clock.now().getTime());
    const smallest = ask.amounts.reduce((least, amount) => (amount < least ? amount : least), ask.amounts[0] ?? 0n);
    const room = found.limit - granted;
    return { kind: 'denied', room: room > 0n ? room : 0n, missing: smallest - room, spent: smallest > found.limit - booked };
  }
}

/** True: granted, or it was enough already. */
function decide(ledger: Ledger, limit: bigint, ask: PoolAsk): boolean {
  const pool = ledger.pools.get(ask.lease);
  if (pool === undefined) return false;
  const name = nameOf(ask.tenantId, ask.lease);
  const before = ledger.leases.get(name) ?? 0n;
  const granted = grantFrom({ limit, ...pool }, before, ask);
  if (granted === null) return false;
  // Told anew even where it is the same: the store may have missed the last telling, and hears only of a higher number.
  setGrant(ledger, ask, granted);
  return true;
}

function setGrant(ledger: Ledger, lease: Pick<PoolAsk, 'tenantId' | 'lease' | 'endsAtMs'>, granted: bigint): void {
  const pool = ledger.pools.get(lease.lease);
  const name = nameOf(lease.tenantId, lease.lease);
  const before = ledger.leases.get(name) ?? 0n;
  if (pool) {
    pool.granted += granted - before;
    if (before === 0n && granted > 0n) pool.holders += 1n;
  }
  ledger.leases.set(name, granted);
  ledger.changed.set(name, lease);
}

/** Locks the pools of the leases and adds what tenants have used beyond their grants. */
export async function openLedger(tx: Sql, asks: readonly Pick<PoolAsk, 'tenantId' | 'lease' | 'endsAtMs'>[]): Promise<Ledger> {
  const ends = new Map(asks.map(({ lease, endsAtMs }) => [lease, endsAtMs]));
  const keys = [...ends.keys()].sort();
  await tx.execute(
    `INSERT INTO quota.lease_pool (lease_key, granted, holders, ends_ms) SELECT k, 0, 0, e FROM unnest($1::text[], $2::bigint[]) AS n (k, e) ORDER BY k ON CONFLICT DO NOTHING`,
    [textArray(keys), plainArray(keys.map((key) => ends.get(key) ?? null))],
  );
  const pools = await lockPools(tx, keys);
  const excess = await tx.query<{ lease_key: string; tenant_id: string; committed: bigint; ends_ms: bigint | null }>(
    `WITH taken AS (DELETE FROM quota.lease_excess WHERE lease_key = ANY($1::text[]) RETURNING *)
     SELECT lease_key, tenant_id, max(committed) AS committed, max(ends_ms) AS ends_ms FROM taken GROUP BY lease_key, tenant_id`,
    [textArray(keys)],
  );
  const named = [...asks, ...excess.map((row) => ({ tenantId: row.tenant_id, lease: row.lease_key }))];
  const rows = await tx.query<LeaseRow>(
    `SELECT l.tenant_id, l.lease_key, l.granted FROM unnest($1::text[], $2::text[]) AS n (tenant_id, lease_key)
     JOIN quota.lease l ON l.tenant_id = n.tenant_id AND l.lease_key = n.lease_key`,
    [textArray(named.map(({ tenantId }) => tenantId)), textArray(named.map(({ lease }) => lease))],
  );
  const ledger: Ledger = { pools, leases: new Map(rows.map((row) => [nameOf(row.tenant_id, row.lease_key), row.granted])), changed: new Map() };
  for (const row of excess) {
    const lease = { tenantId: row.tenant_id, lease: row.lease_key, endsAtMs: row.ends_ms === null ? null : Number(row.ends_ms) };
    if (row.committed > (ledger.leases.get(nameOf(lease.tenantId, lease.lease)) ?? 0n)) setGrant(ledger, lease, row.committed);
  }
  return ledger;
}

/** Writes what changed; answers the leases as they are now. */
export async function writeLedger(tx: Sql, ledger: Ledger, epoch: bigint, now: Date): Promise<ReadonlyMap<string, LeaseRow>> {
  const changed = [...ledger.changed].sort(([a], [b]) => (a < b ? -1 : 1));
  if (changed.length === 0) return new Map();
  const rows = await tx.query<LeaseRow>(
    `INSERT INTO quota.lease AS l (tenant_id, lease_key, granted, version, epoch, ends_ms, looked_at)
     SELECT t, k, g, nextval('quota.lease_version'), $5, e, $6::timestamptz FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[]) AS n (t, k, g, e)
     ON CONFLICT (tenant_id, lease_key) DO UPDATE SET granted = excluded.granted, version = nextval('quota.lease_version')
     RETURNING l.tenant_id, l.lease_key, l.granted, l.version`,
    [
      textArray(changed.map(([, { tenantId }]) => tenantId)),
      textArray(changed.map(([, { lease }]) => lease)),
      plainArray(changed.map(([name]) => ledger.leases.get(name) ?? 0n)),
      plainArray(changed.map(([, { endsAtMs }]) => endsAtMs)),
      epoch,
      now,
    ],
  );
  const pools = [...ledger.pools.values()];
  await tx.execute(
    `UPDATE quota.lease_pool p SET granted = n.granted, holders = n.holders FROM unnest($1::text[], $2::bigint[], $3::bigint[]) AS n (lease_key, granted, holders)
     WHERE p.lease_key = n.lease_key`,
    [textArray(pools.map((pool) => pool.lease_key)), plainArray(pools.map((pool) => pool.granted)), plainArray(pools.map((pool) => pool.holders))],
  );
  return new Map(rows.map((row) => [nameOf(row.tenant_id, row.lease_key), row]));
}

function toGrant(row: LeaseRow, endsAtMs: number | null): LeaseGrant {
  return { lease: row.lease_key, granted: row.granted, version: row.version, fenced: 0n, endsAtMs };
}

async function lockPools(tx: Sql, keys: readonly string[]): Promise<Map<string, PoolRow>> {
  const rows = await tx.query<PoolRow>(
    'SELECT lease_key, granted, holders FROM quota.lease_pool WHERE lease_key = ANY($1::text[]) ORDER BY lease_key FOR UPDATE',
    [textArray([...new Set(keys)].sort())],
  );
  return new Map(rows.map((row) => [row.lease_key, row]));
}

/** Those of the tenants that are promised under the given epochs; no load takes them over before the transaction ends. */
async function tenantsUnder(tx: Sql, tenantIds: readonly string[], epochOf: (tenantId: string) => bigint | null): Promise<ReadonlySet<string>> {
  const rows = await tx.query<{ tenant_id: string; epoch: bigint }>(
    'SELECT tenant_id, epoch FROM quota.reserve WHERE tenant_id = ANY($1::text[]) ORDER BY tenant_id FOR SHARE',
    [textArray([...new Set(tenantIds)].sort())],
  );
  return new Set(rows.filter((row) => row.epoch === epochOf(row.tenant_id)).map((row) => row.tenant_id));
}

/** Waits for postings under way: later ones see what is committed here. */
async function lockTallies(tx: Sql, tenantIds: readonly string[]): Promise<ReadonlyMap<string, bigint>> {
  const rows = await tx.query<{ tenant_id: string; seq: bigint }>(
    `INSERT INTO quota.tally AS t (tenant_id, seq) SELECT named, 0 FROM unnest($1::text[]) AS named ORDER BY named
     ON CONFLICT (tenant_id) DO UPDATE SET seq = t.seq RETURNING tenant_id, seq`,
    [textArray([...new Set(tenantIds)].sort())],
  );
  return new Map(rows.map((row) => [row.tenant_id, row.seq]));
}

async function noteLooks(tx: Sql, looked: readonly LoweredLease[], now: Date): Promise<void> {
  await tx.execute(
    `WITH n AS (SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[]) AS n (tenant_id, lease_key, committed)),
          own AS (SELECT l.tenant_id, l.lease_key, n.committed FROM quota.lease l JOIN n USING (tenant_id, lease_key) ORDER BY lease_key, tenant_id FOR UPDATE OF l)
     UPDATE quota.lease l SET looked_at = $4, looked_committed = own.committed FROM own WHERE l.tenant_id = own.tenant_id AND l.lease_key = own.lease_key`,
    [
      textArray(looked.map(({ touched }) => touched.tenantId)),
      textArray(looked.map(({ touched }) => touched.grant.lease)),
      plainArray(looked.map(({ committed }) => committed)),
      now,
    ],
  );
}

async function takeBack(tx: Sql, lowered: readonly LoweredLease[]): Promise<number> {
  const rows = await tx.query<{ lease_key: string; back: bigint; gone: bigint; leases: bigint }>(
    `WITH n AS (SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[]) AS n (tenant_id, lease_key, was, version, granted, next)),
          own AS (
            UPDATE quota.lease l SET granted = n.granted, version = n.next FROM n
            WHERE l.tenant_id = n.tenant_id AND l.lease_key = n.lease_key AND l.version = n.version RETURNING l.lease_key, n.was - n.granted AS back, n.granted),
          sums AS (SELECT lease_key, sum(back)::bigint AS back, count(*) FILTER (WHERE granted = 0) AS gone, count(*) AS leases FROM own GROUP BY lease_key)
     UPDATE quota.lease_pool p SET granted = p.granted - sums.back, holders = p.holders - sums.gone FROM sums WHERE p.lease_key = sums.lease_key
     RETURNING p.lease_key, sums.back, sums.gone, sums.leases`,
    [
      textArray(lowered.map(({ touched }) => touched.tenantId)),
      textArray(lowered.map(({ touched }) => touched.grant.lease)),
      plainArray(lowered.map(({ touched }) => touched.grant.granted)),
      plainArray(lowered.map(({ touched }) => touched.grant.version)),
      plainArray(lowered.map(({ granted }) => granted)),
      plainArray(lowered.map(({ touched }) => touched.nextVersion)),
    ],
  );
  return rows.reduce((sum, row) => sum + Number(row.leases), 0);
}

/** What all tenants have booked of the counter: what is added up, and what waits to be. */
async function bookedOn(tx: Sql, { key, budget }: Rule, lease: string, nowMs: number): Promise<bigint> {
  const name = parseLease(lease);
  if (name === null || name.metric === 'concurrent') return 0n;
  const column = { usd: 'used_nano', tokens: 'used_tokens', requests: 'used_requests' }[name.metric];
  const { period } = budget;
  const from = period.kind === 'rolling' ? oldestBucket(nowMs, bucketMsOf(period.seconds)) : (name.startsAtMs ?? 0);
  const to = period.kind === 'rolling' ? Number.MAX_SAFE_INTEGER : from;
  const [row] = await tx.query<{ booked: bigint }>(
    `SELECT (coalesce((SELECT sum(${column}) FROM quota.counter WHERE tenant_id = '' AND budget_key = $1 AND value_key = $2 AND period_ms BETWEEN $3 AND $4), 0)
       + coalesce((SELECT sum(${column}) FROM quota.shared_delta WHERE budget_key = $1 AND value_key = $2 AND period_ms BETWEEN $3 AND $4), 0))::bigint AS booked`,
    [key, name.valueKey, from, to],
  );
  return row?.booked ?? 0n;
}
