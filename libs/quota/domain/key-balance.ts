/**
 * A key's own prepaid balance: an allowance inside the tenant's money, not money of its own. Both bind: a call has to fit the key's balance and
 * the tenant's wallet, and its charge burns both. Underneath it is a budget over everything the key ever spends, whose limit is what the key was
 * credited; so it is held, counted and rebuilt like any other limit, in the same atomic step. What it refuses is told as a wallet would.
 */
import type { Nano } from '#libs/kernel/index.js';
import type { Budget, Threshold } from './budget.js';
import { judgeWallet, type WalletRefusal } from './wallet.js';

const PREFIX = 'prepaid:';
/** Before it is gone somebody should know. A balance leads to no cheaper model: like the wallet, it is there or not. */
const THRESHOLDS: readonly Threshold[] = [
  { percent: 80, action: 'notify', appliesTo: 'all' },
  { percent: 100, action: 'block', appliesTo: 'all' },
];

/** The budget behind the balance of a key. @param apiKeyId on the wire: ak_... */
export function balanceBudgetId(apiKeyId: string): string {
  return PREFIX + apiKeyId;
}

/** Budgets of such a name are made and changed by crediting keys alone. */
export function isKeyBalance(budgetId: string): boolean {
  return budgetId.startsWith(PREFIX);
}

/** Whose balance the budget is; null for any other budget. */
export function keyOfBalance(budgetId: string): string | null {
  return isKeyBalance(budgetId) ? budgetId.slice(PREFIX.length) : null;
}

/** The balance of a key that nothing was spent with yet. */
export function newKeyBalance(input: { tenantId: string; apiKeyId: string; at: Date }): Budget {
  return {
    tenantId: input.tenantId,
    budgetId: balanceBudgetId(input.apiKeyId),
    version: 1,
    scope: { api_key_id: input.apiKeyId },
    per: [],
    period: { kind: 'total' },
    timezone: 'UTC',
    limits: { usdNano: 0n, tokens: null, requests: null, concurrent: null },
    thresholds: THRESHOLDS,
    enforcement: 'enforce',
    countFrom: 'period_start',
    countsFromMs: null,
    paused: false,
    warming: false,
    createdAt: input.at,
    updatedAt: input.at,
  };
}

/** Why the balance refuses what it refuses, in the words of a wallet; what would fit once the running calls are over is in flight. */
export function refusalOfBalance(balance: { readonly grantedNano: Nano; readonly usedNano: Nano }, amountNano: Nano): WalletRefusal {
  const verdict = judgeWallet({ postedNano: balance.grantedNano - balance.usedNano, heldNano: 0n }, { creditLimitNano: 0n }, amountNano);
  return verdict.fits ? 'in_flight_exhausted' : verdict.code;
}
