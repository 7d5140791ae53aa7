import type { Nano } from '#libs/kernel/index.js';
import type { CallFacts, Ending, Hold, UnresolvedPolicy } from '../domain/hold.js';
import type { Wallet, WalletRefusal, WalletRule } from '../domain/wallet.js';

export interface ReserveCommand {
  readonly tenantId: string;
  readonly holdId: string;
  readonly amountNano: Nano;
  readonly nowMs: number;
  readonly ttlMs: number;
  /** Hex digests; null without a call id: then nothing is idempotent. */
  readonly callDigest: string | null;
  readonly bodyHash: string | null;
  readonly policy: UnresolvedPolicy;
  readonly facts: CallFacts;
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

export type ReserveResult =
  | {
      readonly kind: 'held';
      readonly hold: Hold;
      readonly wallet: WalletView;
      /** What an enforcing tenant would have been told. */
      readonly refused: WalletRefusal | null;
      /** How much more the committed ceiling covers. */
      readonly coveredNano: Nano;
    }
  | { readonly kind: 'refused'; readonly code: WalletRefusal; readonly wallet: WalletView }
  /** The same call and body asked before and its hold lives. */
  | { readonly kind: 'replayed'; readonly hold: Hold; readonly wallet: WalletView }
  | { readonly kind: 'already_resolved' }
  | { readonly kind: 'other_body' }
  /** Nothing is known of the tenant: load it and ask again. Never an answer. */
  | { readonly kind: 'unknown' }
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
  readonly closes: boolean;
  /** The charge that an unresolved hold's policy made: the money is spent now, but nobody has said how the call ended. */
  readonly provisional: boolean;
}

/** What one money transaction took from a tenant's holds. */
export interface CaptureBatch {
  readonly tenantId: string;
  /** The money transaction; null when nothing moved. A batch of one that was applied before is ignored. */
  readonly seq: bigint | null;
  readonly captures: readonly Capture[];
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
  readonly expiresAtMs: number;
  readonly rule: WalletRule;
  readonly enforce: boolean;
  /** The rise will be committed before it is told to anyone, so the ceiling need not cover it. */
  readonly strict: boolean;
}

export type ExtendResult =
  | EndResult
  | { readonly kind: 'refused'; readonly code: WalletRefusal; readonly wallet: WalletView }
  | { readonly kind: 'above_ceiling'; readonly promisedNano: Nano };

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
  /** Books charges on the holds they name, by id or by call; returns the holds as they are now. A hold that is not there is nobody's. */
  abstract applyCaptures(batch: CaptureBatch, nowMs: number): Promise<Hold[]>;
  /** Ends active holds whose time ran out as `unresolved` (fences as released) and returns them. At most `limit`. */
  abstract expire(nowMs: number, limit: number): Promise<Hold[]>;
  /** Takes over tenants that are unknown. One that is known stays as it is: its promises since the snapshot must not be lost. */
  abstract load(snapshots: readonly TenantSnapshot[]): Promise<void>;
  /** Tells that promises up to `ceilingNano` are committed. Never lowers. */
  abstract raiseCeiling(tenantId: string, ceilingNano: Nano): Promise<void>;
  /** An open hold by its id alone; null when no known tenant has it. */
  abstract locate(holdId: string): Promise<Hold | null>;
  abstract wallet(tenantId: string): Promise<(WalletView & { readonly promisedNano: Nano; readonly ceilingNano: Nano }) | 'unknown'>;
  /** Everything becomes unknown: the right to promise was lost. */
  abstract forgetAll(): Promise<void>;
  abstract forget(tenantId: string): Promise<void>;
}
