/**
 * A tenant is whom spend is charged to. A PUT changes the fields it names and leaves the others: a caller that renames a tenant must not
 * lift its suspension by omission. Null clears a field that may be empty.
 */
import { DomainError, type Nano } from '../../kernel/index.js';

export const BILLING_KINDS = ['prepaid', 'postpaid'] as const;
export const ENFORCEMENTS = ['enforce', 'shadow', 'off'] as const;
export const STORE_FAILURE_POLICIES = ['block', 'allow_capped', 'allow'] as const;
export const HOLD_DURABILITIES = ['fast', 'strict'] as const;
export const UNRESOLVED_POLICIES = ['charge_input', 'charge_estimate', 'charge_hold', 'release'] as const;
export const TENANT_STATUSES = ['active', 'suspended'] as const;

export interface TenantOwner {
  readonly email?: string | undefined;
  readonly channelIds?: readonly string[] | undefined;
}

/** What decides about a tenant's calls: every process keeps it of a hundred thousand tenants, so it holds nothing else. */
export interface Tenant {
  readonly tenantId: string;
  readonly name: string | null;
  readonly planId: string | null;
  /** The rate card of the plan; null means cost is charged as it is. */
  readonly rateCardId: string | null;
  readonly billing: (typeof BILLING_KINDS)[number];
  /** How far below zero the balance may go. */
  readonly creditLimitNano: Nano;
  readonly enforcement: (typeof ENFORCEMENTS)[number];
  readonly onStoreFailure: (typeof STORE_FAILURE_POLICIES)[number];
  readonly holdDurability: (typeof HOLD_DURABILITIES)[number];
  /** Null: the default of the dialect the hold came through. */
  readonly unresolvedPolicy: (typeof UNRESOLVED_POLICIES)[number] | null;
  readonly status: (typeof TENANT_STATUSES)[number];
  /** IANA zone in which its budgets' days and months begin. */
  readonly timezone: string;
  readonly owner: TenantOwner | null;
  readonly stripeCustomerId: string | null;
  /** Made from an event and not yet set up by anyone. */
  readonly autoCreated: boolean;
}

export interface TenantRecord extends Tenant {
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

/** The tenant of events that came without one: their cost is booked, nothing is charged. Nobody may change it. */
export const UNKNOWN_TENANT_ID = 'unknown';

/** What a PUT names; an absent field stays as it is. */
export type TenantChange = { readonly [Field in keyof TenantSettings]?: TenantSettings[Field] | undefined };
export type TenantSettings = Omit<Tenant, 'tenantId' | 'rateCardId' | 'autoCreated'>;

const DEFAULT_SETTINGS: TenantSettings = {
  name: null,
  planId: null,
  billing: 'prepaid',
  creditLimitNano: 0n,
  enforcement: 'enforce',
  onStoreFailure: 'allow_capped',
  holdDurability: 'fast',
  unresolvedPolicy: null,
  status: 'active',
  timezone: 'UTC',
  owner: null,
  stripeCustomerId: null,
};

/** A tenant as an operator sets it up: the defaults, then what the change names. */
export function registerTenant(tenantId: string, change: TenantChange, at: Date): TenantRecord {
  assertChangeable(tenantId);
  return { tenantId, ...withChange(DEFAULT_SETTINGS, change), rateCardId: null, autoCreated: false, createdAt: at, updatedAt: at };
}

/** A tenant first seen in an event: nothing is enforced until someone sets it up. */
export function autoCreateTenant(tenantId: string, at: Date): TenantRecord {
  return { tenantId, ...DEFAULT_SETTINGS, billing: 'postpaid', enforcement: 'shadow', rateCardId: null, autoCreated: true, createdAt: at, updatedAt: at };
}

/** The tenant after a change. Whoever changes an auto-created tenant has adopted it. */
export function changeTenant(tenant: TenantRecord, change: TenantChange, at: Date): TenantRecord {
  assertChangeable(tenant.tenantId);
  return { ...tenant, ...withChange(settingsOf(tenant), change), autoCreated: false, updatedAt: at };
}

/** Whether two states differ in anything but their times. */
export function sameSettings(left: TenantRecord, right: TenantRecord): boolean {
  const comparable = (tenant: Tenant): string =>
    JSON.stringify([settingsOf(tenant), tenant.autoCreated], (_key, value: unknown) => (typeof value === 'bigint' ? value.toString() : value));
  return comparable(left) === comparable(right);
}

function settingsOf(tenant: Tenant): TenantSettings {
  const { name, planId, billing, creditLimitNano, enforcement, onStoreFailure, holdDurability, unresolvedPolicy, status, timezone, owner, stripeCustomerId } =
    tenant;
  return { name, planId, billing, creditLimitNano, enforcement, onStoreFailure, holdDurability, unresolvedPolicy, status, timezone, owner, stripeCustomerId };
}

function withChange(settings: TenantSettings, change: TenantChange): TenantSettings {
  const named = Object.fromEntries(Object.entries(change).filter(([, value]) => value !== undefined));
  const changed: TenantSettings = { ...settings, ...named };
  if (!isTimeZone(changed.timezone)) {
    throw new DomainError({
      code: 'tenant.invalid',
      kind: 'invalid',
      publicMessage: 'the tenant was not changed',
      errors: [{ path: 'timezone', message: TIMEZONE_RULE }],
    });
  }
  return changed;
}

function assertChangeable(tenantId: string): void {
  if (tenantId !== UNKNOWN_TENANT_ID) return;
  throw new DomainError({
    code: 'tenant.reserved',
    kind: 'conflict',
    publicMessage: `the tenant "${UNKNOWN_TENANT_ID}" holds events without a tenant and cannot be changed`,
  });
}

export const TIMEZONE_RULE = 'must be an IANA time zone such as "Europe/Berlin"';

/** Whether the platform's zone database knows the zone. Fixed offsets ("+02:00") are refused: they have no name finance could recognise. */
export function isTimeZone(zone: string): boolean {
  if (!/^[A-Za-z][A-Za-z0-9_+\-/]{0,63}$/.test(zone)) return false;
  try {
    return new Intl.DateTimeFormat('en', { timeZone: zone }).resolvedOptions().timeZone !== '';
  } catch {
    return false;
  }
}
