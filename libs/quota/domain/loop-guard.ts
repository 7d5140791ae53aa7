/**
 * A built-in budget of every tenant: calls and dollars an hour of one thread, because a loop of agents is found by nobody until the bill
 * comes. In shadow by default: it is told what it would have stopped.
 */
import type { Nano } from '#libs/kernel/index.js';
import type { Budget } from './budget.js';

export const LOOP_GUARD_ID = 'builtin:loop-guard';

export interface LoopGuardSettings {
  readonly loopGuard: 'shadow' | 'enforce' | 'off';
  /** Calls an hour and thread. */
  readonly loopGuardCalls: number;
  /** Dollars an hour and thread. */
  readonly loopGuardNano: Nano;
}

const HOUR_SECONDS = 3_600;
const NEVER = new Date(0);

export function loopGuard(settings: LoopGuardSettings): Budget[] {
  if (settings.loopGuard === 'off') return [];
  return [
    {
      tenantId: '',
      budgetId: LOOP_GUARD_ID,
      version: 1,
      scope: {},
      // By tenant: a thread of another tenant is another thread.
      per: ['tenant_id', 'thread_id'],
      period: { kind: 'rolling', seconds: HOUR_SECONDS },
      timezone: 'UTC',
      limits: { usdNano: settings.loopGuardNano, tokens: null, requests: BigInt(settings.loopGuardCalls), concurrent: null },
      thresholds: [{ percent: 100, action: 'block', appliesTo: 'all' }],
      enforcement: settings.loopGuard,
      countFrom: 'period_start',
      countsFromMs: null,
      paused: false,
      warming: false,
      createdAt: NEVER,
      updatedAt: NEVER,
    },
  ];
}
