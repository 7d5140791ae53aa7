import type { Nano } from '#libs/kernel/index.js';
import type { CallFacts, Ending, Hold, UnresolvedPolicy } from '../domain/hold.js';
import type { Choice, Judged, Refusal, Room, Why } from '../domain/judge.js';
import type { LeaseGrant, Short } from '../domain/lease.js';
import type { Claim, CounterDelta } from '../domain/limit.js';
import type { Wallet, WalletRule } from '../domain/wallet.js';

/** A model that may be called, with all it would take. */
export interface Candidate extends Judged {
  readonly facts: CallFacts;
}

export interface ReserveCommand {
  readonly tenantId: string;
  readonly holdId: string;
  /** Absent: of a call. */
  readonly kind?: Hold['kind'];
  /** The requested model first, then its ladder; the first that fits is taken. */
  readonly candidates: readonly [Candidate, ...Candidate[]];
  /** Of the rules that the claims were made by; the store answers by no others. */
  readonly rulesRevision: number;
  readonly nowMs: number;
  readonly ttlMs: number;
  /** Hex digests; null without a call id: then nothing is idempotent. */
  readonly callDigest: string | null;
  readonly bodyHash: string | null;
  readonly policy: UnresolvedPolicy;
  readonly rule: WalletRule;
  /** Shadow tenants are judged by the same rule and get their hold all the same. */
  readonly enforce: boolean;
  /** The hold will be committed before it is promised to anyone, so the ceiling need not cover it. */
  readonly strict: boolean;
}

/** Both figures after the command. */
export interface WalletView extends Wallet {
  readonly seq: bigint;
}

/** A limit as it stands after the command. */
export interface LimitView {
  readonly claim: Claim;
  readonly used: bigint;
  readonly held: bigint;
}

export type ReserveResult =
  | {
      readonly kind: 'held';
      readonly hold: Hold;
      readonly wallet: WalletView;
      readonly limits: readonly LimitView[];
      /** Which candidate was taken, and why not the first. */
      readonly index: number;
      readonly why: Why;
      readonly claim: Claim | null;
      /** What would have been decided with every limit enforced; null where it is the same. */
      readonly would: Choice | null;
      /** How much more the committed ceiling covers. */
      readonly coveredNano: Nano;
    }
  | {
      readonly kind: 'refused';
      /** Of the requested model. */
      readonly refusal: Refusal;
      readonly wallet: WalletView;
      readonly limits: readonly LimitView[];
      /** What each candidate could have instead. */
      readonly rooms: readonly Room[];
    }
  /** The same call and body asked before and its hold lives. */
  | { readonly kind: 'replayed'; readonly hold: Hold; readonly wallet: WalletView; readonly limits: readonly LimitView[] }
  | { readonly kind: 'already_resolved' }
  | { readonly kind: 'other_body' }
  /** Nothing is known of the tenant: load it and ask again. Never an answer. */
  | { readonly kind: 'unknown' }
  /** The tenant was loaded with newer rules than the claims were made by: resolve them again. */
  | { readonly kind: 'stale_rules' }
  /** Nothing refuses it but what the tenant was granted of shared limits: ask their pools, and then again. Never an answer. */
  | { readonly kind: 'short_of_lease'; readonly shorts: readonly Short[] }
  /** The ceiling committed in PostgreSQL does not cover it: raise it and ask again. */
  | { readonly kind: 'above_ceiling'; readonly promisedNano: Nano };

/** One tenant as PostgreSQL tells it in one snapshot. */
export interface TenantSnapshot {
  readonly tenantId: string;
  readonly seq: bigint;
  readonly postedNano: Nano;
  /** Active and unresolved holds, fences among them, with their captures. */
  readonly holds: readonly Hold[];
  /** Hex call digests resolved less than fifteen minutes ago. */
  readonly recentCalls: readonly { readonly callDigest: string; readonly resolvedAtMs: number }[];
  readonly promisedNano: Nano;
  readonly ceilingNano: Nano;
  /** The last batch of bookings that is inside the counters and the holds. */
  readonly bookedSeq: bigint;
  readonly rulesRevision: number;
  /** What counts at this moment, by these rules. */
  readonly counters: readonly CounterDelta[];
  /** Until then a crash may have lost promises on counters; 0 where none is. */
  readonly fencedUntilMs: number;
  /** What the tenant was granted of shared limits; absent: by these rules it shares none. */
  readonly leases?: TenantLeases | undefined;
}

export interface TenantLeases {
  readonly grants: readonly LeaseGrant[];
  /** Tellings of grants up to this number are older than the snapshot, also of leases that are not in it. */
  readonly from: bigint;
}

export interface BalanceChange {
  readonly tenantId: string;
  readonly seq: bigint;
  readonly postedNano: Nano;
}

export interface Capture {
  readonly holdId: string | null;
  readonly callDigest: string | null;
  /** Negative when a booking was taken back. */
  readonly signedNano: Nano;
  readonly signedTokens: bigint;
  readonly signedRequests: bigint;
  readonly closes: boolean;
  /** The charge that an unresolved hold's policy made: the money is spent now, but nobody has said how the call ended. */
  readonly provisional: boolean;
}

/** What one posting transaction took from a tenant's holds and added to its counters: one step, so that nothing counts as neither held nor used. */
export interface BookedBatch {
  readonly tenantId: string;
  /** The tenant's next; one that was applied before is ignored. */
  readonly seq: bigint;
  readonly captures: readonly Capture[];
  readonly counters: readonly CounterDelta[];
}

export type EndResult =
  | { readonly kind: 'ended'; readonly hold: Hold; readonly wallet: WalletView }
  | { readonly kind: 'ended_before'; readonly hold: Hold }
  | { readonly kind: 'not_found' }
  | { readonly kind: 'unknown' };

export interface ExtendCommand {
  readonly tenantId: string;
  readonly holdId: string;
  /** The whole amount, not the rise. */
  readonly amountNano: Nano;
  readonly facts: CallFacts;
  /** What the whole amount takes of the limits the hold counts for. */
  readonly claims: readonly Claim[];
  readonly expiresAtMs: number;
  readonly nowMs: number;
  readonly rule: WalletRule;
  readonly enforce: boolean;
  /** The rise will be committed before it is told to anyone, so the ceiling need not cover it. */
  readonly strict: boolean;
}

export type ExtendResult =
  | EndResult
  | { readonly kind: 'short_of_lease'; readonly shorts: readonly Short[] }
  | { readonly kind: 'refused'; readonly refusal: Refusal; readonly wallet: WalletView }
  | { readonly kind: 'above_ceiling'; readonly promisedNano: Nano };

/** A grant as PostgreSQL has it now, to be lowered. */
export interface LowerLease {
  readonly tenantId: string;
  readonly grant: Omit<LeaseGrant, 'fenced'>;
  /** Of the rules that lease it. A tenant that was loaded with older ones may hold what it does not count yet: it becomes unknown. */
  readonly rulesRevision: number;
  /** Lowers by no more than this; null: by all that lies unused. */
  readonly atMost: bigint | null;
  /** Lowers only where the tenant has used and holds exactly this: it was idle since. Null: whatever it has. */
  readonly onlyAt: bigint | null;
  /** The number of the lowered grant. */
  readonly nextVersion: bigint;
  readonly nowMs: number;
}

export type LowerResult =
  | { readonly kind: 'unknown' }
  /** The store has heard of a later grant than the one that was to be lowered. */
  | { readonly kind: 'newer' }
  /** `granted` is lower than before, or the same where nothing lies unused. */
  | {
      readonly kind: 'looked';
      readonly granted: bigint;
      /** What the tenant has used and holds. */
      readonly committed: bigint;
      /** The last batch of bookings that is in it. */
      readonly bookedSeq: bigint;
    };

/** What {@link QuotaStore.load} needs of {@link QuotaStore.beginLoad}, by tenant. */
export type LoadTickets = ReadonlyMap<string, string>;

/**
 * Where promises are made. Each method is one atomic step over everything it touches: all or nothing (H4).
 * Missing state is `unknown`, never zero (H6). Time is passed in. Implementations are held to one conformance suite.
 */
export abstract class QuotaStore {
  abstract reserve(command: ReserveCommand): Promise<ReserveResult>;
  /** Ends a hold; a second ending finds `ended_before` and changes nothing (H3). */
  abstract end(input: { tenantId: string; holdId: string; ending: Ending; nowMs: number }): Promise<EndResult>;
  /** Raises an active hold's amount and end, if the rise fits the wallet. */
  abstract extend(command: ExtendCommand): Promise<ExtendResult>;
  /** Applies the next balance; ignores an older one; `gap` when one is missing, and the tenant is then unknown. */
  abstract applyBalance(change: BalanceChange): Promise<'applied' | 'old' | 'gap' | 'unknown'>;
  /**
   * Books charges on the holds they name, by id or by call, and on counters; returns the holds as they are now. A hold that is not there is
   * nobody's. Applied in order and once: after a gap the tenant is unknown.
   */
  abstract applyBooked(batch: BookedBatch, nowMs: number): Promise<Hold[]>;
  /** Ends active holds whose time ran out as `unresolved` (fences as released) and returns them. At most `limit`. */
  abstract expire(nowMs: number, limit: number): Promise<Hold[]>;
  /** Has the next {@link expire} look at the tenant, whoever should have seen to that and is gone. */
  async sweepSoon(_tenantId: string, _nowMs: number): Promise<void> {}
  /**
   * Announces that tenants are about to be read. Where several processes share the store, what another one books between the reading and the
   * load would be missed: it makes the ticket worthless, the load leaves the tenant unknown, and it is read again.
   */
  async beginLoad(_tenantIds: readonly string[], _nowMs: number): Promise<LoadTickets> {
    return new Map();
  }
  /** Takes over tenants that are unknown. One that is known stays as it is: its promises since the snapshot must not be lost. */
  abstract load(snapshots: readonly TenantSnapshot[], nowMs: number, tickets?: LoadTickets): Promise<void>;
  /** Tells that promises up to `ceilingNano` are committed. Never lowers. */
  abstract raiseCeiling(tenantId: string, ceilingNano: Nano): Promise<void>;
  /** Tells of grants that are committed. One that is older than what the store has, or than the tenant's load, changes nothing. */
  abstract grant(tenantId: string, grants: readonly LeaseGrant[], nowMs: number): Promise<void>;
  /**
   * Lowers a grant, never below what the tenant has used, holds or may have lost. From then on nothing is promised of the rest, so it may be
   * given to others; telling of an older grant does not bring it back.
   */
  abstract lowerLease(input: LowerLease): Promise<LowerResult>;
  /** An open hold by its id; null when no known tenant has it. A shared store finds other processes' holds only with their tenant. */
  abstract locate(holdId: string, tenantId?: string): Promise<Hold | null>;
  /** How much of what was promised has its row, once this process has written what it promised up to `writtenNano`. */
  async recordedNano(_tenantId: string, writtenNano: Nano): Promise<Nano> {
    return writtenNano;
  }
  /** Tells of holds that have their rows now: a loss of the store can no longer lose them. */
  async recorded(_holds: readonly Hold[]): Promise<void> {}
  abstract wallet(tenantId: string): Promise<(WalletView & { readonly promisedNano: Nano; readonly ceilingNano: Nano }) | 'unknown'>;
  /** How limits stand, by claims made under those rules; null where the tenant is unknown or has other rules. */
  abstract limits(input: { tenantId: string; claims: readonly Claim[]; rulesRevision: number; nowMs: number }): Promise<readonly LimitView[] | null>;
  /** Everything becomes unknown: the right to promise was lost. */
  abstract forgetAll(): Promise<void>;
  abstract forget(tenantId: string): Promise<void>;
}
