/** What a call may cost before it is made: decisions, holds, and what keeps both true. */
export { AuthorizeCall } from './application/authorize-call.js';
export type { AuthorizeInput } from './application/authorize-input.js';
export type { StoredTopUp as BudgetTopUp } from './application/budget-store.js';
export { DeleteBudget, PauseBudget, PutOverride, ReadBudgets, RemoveOverride, TopUpBudget } from './application/change-budget.js';
export { CROSSED_TOPIC, type ToldCrossing } from './application/crossing-payload.js';
export { CountSharedBudgets } from './application/count-shared-budgets.js';
export { CrossingReader, type Crossing } from './application/crossing-reader.js';
export { CreditKey, type KeyCredit } from './application/credit-key.js';
export { DecisionLog, type LoggedDecision } from './application/decision-log.js';
export { FollowTimeZones } from './application/follow-time-zones.js';
export { ForgetOldQuotaRows } from './application/forget-old-quota-rows.js';
export type { SettleFigures } from './application/hold-events.js';
export { HoldJournal } from './application/hold-journal.js';
export { HoldReader } from './application/hold-reader.js';
export { ExtendHold, ReleaseHold, SettleHold } from './application/manage-hold.js';
export { FundingSource, NoFence, QuotaFence } from './application/ports.js';
export { PutBudget } from './application/put-budget.js';
export { PutRoutes } from './application/put-routes.js';
export { QuotaService } from './application/quota-service.js';
export { QuotaStore } from './application/quota-store.js';
export { MemoryQuotaStore } from './memory/memory-quota-store.js';
export { DecisionReader } from './application/read-decisions.js';
export { ReadHeld, type HeldView } from './application/read-held.js';
export { ReadKeyBalances, type KeyBalance } from './application/read-key-balances.js';
export { ReadLimits } from './application/read-limits.js';
export { ReclaimLeases } from './application/reclaim-leases.js';
export { RelayBalances } from './application/relay-balances.js';
export { EVERYBODY } from './application/rule-book.js';
export { SimulateBudget, type Simulation } from './application/simulate-budget.js';
export { StoreAway } from './application/store-away.js';
export { StopPromising } from './application/stop-promising.js';
export { SweepHolds } from './application/sweep-holds.js';
export { CrossingListener, TellCrossings } from './application/tell-crossings.js';
export { WarmBudgets } from './application/warm-budgets.js';
export {
  ATTRIBUTES as BUDGET_ATTRIBUTES,
  BUDGET_ENFORCEMENTS,
  COUNT_FROM,
  DEFAULT_THRESHOLDS,
  SCOPE_ATTRIBUTES,
  THRESHOLD_ACTIONS,
  type Budget,
  type BudgetSettings,
  type Limits as BudgetLimits,
  type Override as BudgetOverride,
  type Scope as BudgetScope,
} from './domain/budget.js';
export { keyOfBalance } from './domain/key-balance.js';
export { PERIODS } from './domain/period.js';
export type { Ladders } from './domain/route.js';
export { REASON_CODES, type Decision, type LimitLine, type WalletLimit } from './domain/decision.js';
export { HOLD_STATES, type Hold, type HoldState } from './domain/hold.js';
export { takeEpoch } from './postgres/epoch.js';
export { QuotaHeldAmounts } from './postgres/quota-held-amounts.js';
export { QuotaParticipant } from './postgres/quota-participant.js';
export { openQuotaRedis, type QuotaRedis } from './redis/open-quota-redis.js';
export { bookedCall, reserveCall, type ScriptCall } from './redis/script-calls.js';
export { QuotaModule, QuotaPostingModule } from './quota.module.js';
