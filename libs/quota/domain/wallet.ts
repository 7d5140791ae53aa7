/**
 * The wallet's part of the decision, pure and the only one there is: every store calls it or is compared with it.
 * H1: available = posted + credit limit - held, and never below zero right after an allow of an enforcing tenant.
 */
import type { Nano } from '#libs/kernel/index.js';

export interface Wallet {
  /** Lots minus receivable. */
  readonly postedNano: Nano;
  /** Sum of what open holds keep. */
  readonly heldNano: Nano;
}

export interface WalletRule {
  /** How far below zero the balance may go; null means that nothing limits it (postpaid without a limit). */
  readonly creditLimitNano: Nano | null;
}

export type WalletRefusal = 'insufficient_funds' | 'in_flight_exhausted' | 'too_large';
export type WalletVerdict = { readonly fits: true } | { readonly fits: false; readonly code: WalletRefusal };

/** What could be promised if no call were running; null without a limit. */
export function remainingOf(wallet: Wallet, rule: WalletRule): Nano | null {
  return rule.creditLimitNano === null ? null : wallet.postedNano + rule.creditLimitNano;
}

/** What may still be promised; null without a limit. */
export function availableOf(wallet: Wallet, rule: WalletRule): Nano | null {
  const remaining = remainingOf(wallet, rule);
  return remaining === null ? null : remaining - wallet.heldNano;
}

/**
 * Whether `amountNano` (>= 0) may be promised. A call that costs nothing always fits. In this order: nothing left at all; more than is
 * left even if nothing ran; held by running calls, so that waiting helps.
 */
export function judgeWallet(wallet: Wallet, rule: WalletRule, amountNano: Nano): WalletVerdict {
  const remaining = remainingOf(wallet, rule);
  if (remaining === null || amountNano === 0n) return { fits: true };
  if (remaining <= 0n) return { fits: false, code: 'insufficient_funds' };
  if (amountNano > remaining) return { fits: false, code: 'too_large' };
  if (amountNano > remaining - wallet.heldNano) return { fits: false, code: 'in_flight_exhausted' };
  return { fits: true };
}
