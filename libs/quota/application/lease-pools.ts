import type { LeaseAsk, LeaseGrant } from '../domain/lease.js';

/** What a tenant asks of a shared limit. */
export interface PoolAsk extends LeaseAsk {
  readonly tenantId: string;
  readonly lease: string;
  readonly endsAtMs: number | null;
}

export type PoolAnswer =
  /** `grant` is committed, and is to be told to the tenant's store. */
  | { readonly kind: 'granted'; readonly grant: LeaseGrant }
  | {
      readonly kind: 'denied';
      /** What can still be given out. */
      readonly room: bigint;
      /** What tenants have to give up before the smallest call that waits fits. */
      readonly missing: bigint;
      /** What is booked leaves no room for the smallest call that waits: no lease stands in its way. */
      readonly spent: boolean;
    }
  /** Another epoch has the tenant: what is known of it here is worth nothing. */
  | { readonly kind: 'stale' };

/** A lease that is about to be lowered, with numbers above every telling of it so far. */
export interface TouchedLease {
  readonly tenantId: string;
  readonly grant: Omit<LeaseGrant, 'fenced'>;
  readonly nextVersion: bigint;
  /** What the tenant used and held when its lease was looked at last. */
  readonly lookedCommitted: bigint | null;
  /** Of the rules that lease it. */
  readonly rulesRevision: number;
  /** More is given out than the limit is: all that lies unused has to come back. */
  readonly isOver: boolean;
}

/** A lease that its store has lowered. */
export interface LoweredLease {
  readonly touched: TouchedLease;
  readonly granted: bigint;
  readonly committed: bigint;
  /** The last batch of bookings the store knew of. */
  readonly bookedSeq: bigint;
}

export interface TenantLease {
  readonly tenantId: string;
  readonly lease: string;
}

/**
 * The shared limits and who has how much of them, in PostgreSQL. A grant is committed here before a store hears of it; a lower one is committed
 * here after its store has lowered it: a crash in between strands what lies between, and gives nothing out twice.
 * Every method is refused for tenants whose epoch is another: `epochOf` answers the one they are promised under.
 * @throws DomainError storage.unavailable
 */
export abstract class LeasePools {
  /** In the order of `asks`; all of one epoch. */
  abstract grant(epoch: bigint, asks: readonly PoolAsk[]): Promise<PoolAnswer[]>;
  /** Leaves out those of another epoch. */
  abstract touch(leases: readonly TenantLease[], epochOf: (tenantId: string) => bigint | null): Promise<TouchedLease[]>;
  /** Takes over what stores have lowered, where nothing was granted, loaded or booked since; returns how many. */
  abstract giveBack(lowered: readonly LoweredLease[], epochOf: (tenantId: string) => bigint | null): Promise<number>;
  /** Tenants that hold most of what nobody has been seen to use. */
  abstract holders(lease: string, limit: number): Promise<TenantLease[]>;
  /** Leases that nobody has looked at since `before`, the longest first. */
  abstract toLookAt(before: Date, limit: number): Promise<TenantLease[]>;
  /** Drops leases of budgets that are no more, or count otherwise by now; returns those that are still of use. */
  abstract dropOld(leases: readonly TenantLease[]): Promise<TenantLease[]>;
}
