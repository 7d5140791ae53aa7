import type { Sql } from '../../platform/postgres/database.js';
import { textArray, timeArray } from '../../platform/postgres/array-literal.js';
import { TenantRepository, type TenantFilter } from '../application/ports.js';
import type { Tenant, TenantOwner, TenantRecord } from '../domain/tenant.js';

const COLUMNS = `t.tenant_id, t.name, t.plan_id, p.rate_card_id, t.billing, t.credit_limit_nano, t.enforcement, t.on_store_failure, t.hold_durability,
  t.unresolved_policy, t.status, t.timezone, t.owner, t.stripe_customer_id, t.auto_created`;
const WITH_TIMES = `${COLUMNS}, t.created_at, t.updated_at`;
const FROM = 'FROM tenancy.tenant t LEFT JOIN tenancy.plan p ON p.plan_id = t.plan_id';
// Any constant of our own: whoever counts the tenants made this hour holds it, so that two processes cannot both see room for one more.
const AUTO_CREATE_LOCK = 6002901772386127457n;

export class PostgresTenantRepository extends TenantRepository {
  override async findMany(sql: Sql, tenantIds: readonly string[]): Promise<Tenant[]> {
    const rows = await sql.query<TenantRow>({ name: 'tenancy.find-tenants', text: `SELECT ${COLUMNS} ${FROM} WHERE t.tenant_id = ANY($1::text[])` }, [
      textArray(tenantIds),
    ]);
    return rows.map(toTenant);
  }

  override async lock(tx: Sql, tenantId: string): Promise<TenantRecord | null> {
    // A tenant that does not exist yet has no row to lock; the advisory lock serialises its creation.
    await tx.execute(`SELECT pg_advisory_xact_lock(hashtextextended('tenancy.tenant:' || $1, 0))`, [tenantId]);
    const rows = await tx.query<TenantRecordRow>(`SELECT ${WITH_TIMES} ${FROM} WHERE t.tenant_id = $1 FOR UPDATE OF t`, [tenantId]);
    return rows[0] === undefined ? null : toRecord(rows[0]);
  }

  override async list(sql: Sql, filter: TenantFilter): Promise<TenantRecord[]> {
    const rows = await sql.query<TenantRecordRow>(
      `SELECT ${WITH_TIMES} ${FROM}
        WHERE ($1::text IS NULL OR t.tenant_id = $1) AND ($2::boolean IS NULL OR t.auto_created = $2) AND ($3::text IS NULL OR t.tenant_id > $3)
        ORDER BY t.tenant_id LIMIT $4`,
      [filter.tenantId ?? null, filter.autoCreated ?? null, filter.after ?? null, filter.limit],
    );
    return rows.map(toRecord);
  }

  override async save(tx: Sql, tenant: TenantRecord): Promise<boolean> {
    // Checked by a query, not by the constraint: an error inside a transaction would end it.
    if (tenant.planId !== null && (await tx.query('SELECT FROM tenancy.plan WHERE plan_id = $1 FOR SHARE', [tenant.planId])).length === 0) return false;
    await tx.execute(
      `INSERT INTO tenancy.tenant (tenant_id, name, plan_id, billing, credit_limit_nano, enforcement, on_store_failure, hold_durability, unresolved_policy,
              status, timezone, owner, stripe_customer_id, auto_created, created_at, updated_at)
       VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
       ON CONFLICT (tenant_id) DO UPDATE SET name = excluded.name, plan_id = excluded.plan_id, billing = excluded.billing,
              credit_limit_nano = excluded.credit_limit_nano, enforcement = excluded.enforcement, on_store_failure = excluded.on_store_failure,
              hold_durability = excluded.hold_durability, unresolved_policy = excluded.unresolved_policy, status = excluded.status,
              timezone = excluded.timezone, owner = excluded.owner, stripe_customer_id = excluded.stripe_customer_id,
              auto_created = excluded.auto_created, updated_at = excluded.updated_at`,
      [
        tenant.tenantId,
        tenant.name,
        tenant.planId,
        tenant.billing,
        tenant.creditLimitNano.toString(),
        tenant.enforcement,
        tenant.onStoreFailure,
        tenant.holdDurability,
        tenant.unresolvedPolicy,
        tenant.status,
        tenant.timezone,
        tenant.owner === null ? null : JSON.stringify(tenant.owner),
        tenant.stripeCustomerId,
        tenant.autoCreated,
        tenant.createdAt,
        tenant.updatedAt,
      ],
    );
    return true;
  }

  override async insertNew(tx: Sql, tenants: readonly TenantRecord[]): Promise<string[]> {
    if (tenants.length === 0) return [];
    const rows = await tx.query<{ tenant_id: string }>(
      `INSERT INTO tenancy.tenant (tenant_id, billing, enforcement, auto_created, created_at, updated_at)
       SELECT tenant_id, billing, enforcement, true, created_at, created_at
         FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[]) AS new (tenant_id, billing, enforcement, created_at)
       ON CONFLICT (tenant_id) DO NOTHING
       RETURNING tenant_id`,
      [
        textArray(tenants.map((tenant) => tenant.tenantId)),
        textArray(tenants.map((tenant) => tenant.billing)),
        textArray(tenants.map((tenant) => tenant.enforcement)),
        timeArray(tenants.map((tenant) => tenant.createdAt)),
      ],
    );
    return rows.map((row) => row.tenant_id);
  }

  override async lockAutoCreatedCount(tx: Sql, since: Date): Promise<number> {
    await tx.execute('SELECT pg_advisory_xact_lock($1)', [AUTO_CREATE_LOCK.toString()]);
    const rows = await tx.query<{ made: bigint }>('SELECT count(*) AS made FROM tenancy.tenant WHERE auto_created AND created_at > $1', [since]);
    return Number(rows[0]?.made ?? 0n);
  }
}

interface TenantRow {
  tenant_id: string;
  name: string | null;
  plan_id: string | null;
  rate_card_id: string | null;
  billing: Tenant['billing'];
  credit_limit_nano: bigint;
  enforcement: Tenant['enforcement'];
  on_store_failure: Tenant['onStoreFailure'];
  hold_durability: Tenant['holdDurability'];
  unresolved_policy: Tenant['unresolvedPolicy'];
  status: Tenant['status'];
  timezone: string;
  owner: TenantOwner | null;
  stripe_customer_id: string | null;
  auto_created: boolean;
}

interface TenantRecordRow extends TenantRow {
  created_at: Date;
  updated_at: Date;
}

// The driver makes a string of its own for each column of each row. The same few words of 100,000 cached tenants are kept once;
// beyond the bound (time zones and card ids are anybody's text) they are kept as they come.
const words = new Map<string, string>();
const MAX_WORDS = 1_000;

function once<Text extends string | null>(text: Text): Text {
  if (text === null) return text;
  const known = words.get(text);
  if (known !== undefined) return known as Text;
  if (words.size < MAX_WORDS) words.set(text, text);
  return text;
}

function toTenant(row: TenantRow): Tenant {
  return {
    tenantId: row.tenant_id,
    name: row.name,
    planId: once(row.plan_id),
    rateCardId: once(row.rate_card_id),
    billing: once(row.billing),
    creditLimitNano: row.credit_limit_nano,
    enforcement: once(row.enforcement),
    onStoreFailure: once(row.on_store_failure),
    holdDurability: once(row.hold_durability),
    unresolvedPolicy: once(row.unresolved_policy),
    status: once(row.status),
    timezone: once(row.timezone),
    owner: row.owner,
    stripeCustomerId: row.stripe_customer_id,
    autoCreated: row.auto_created,
  };
}

function toRecord(row: TenantRecordRow): TenantRecord {
  return { ...toTenant(row), createdAt: row.created_at, updatedAt: row.updated_at };
}
