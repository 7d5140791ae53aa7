import { DeliverAlerts, ForgetOldAlerts, NOTED_ALERTS_TOPIC, RaiseNotedAlerts, RouteAlerts } from '#libs/alerting/index.js';
import { Clock, DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS } from '#libs/kernel/index.js';
import { ExpireLots } from '#libs/ledger/index.js';
import { ForgetOldEventKeys, KeepPartitionsAhead, PostPendingSpend, RequeueQuarantined, SweepPending } from '#libs/metering/index.js';
import { trimOutbox } from '#libs/platform/outbox/outbox.js';
import { Database } from '#libs/platform/postgres/database.js';
import type { ScheduledTask } from '#libs/platform/queue/schedules.js';
import { PriceBook } from '#libs/pricing/index.js';
import {
  CROSSED_TOPIC,
  CountSharedBudgets,
  DecisionLog,
  FollowTimeZones,
  ForgetOldQuotaRows,
  HoldJournal,
  QuotaService,
  ReclaimLeases,
  RelayBalances,
  SweepHolds,
  TellCrossings,
  WarmBudgets,
} from '#libs/quota/index.js';

/** Finds a use case of the running application by its class. */
export type Resolve = <T>(useCase: abstract new (...args: never[]) => T) => T;

export interface Subscriptions {
  readonly spend: { readonly onWake: (shard: number) => Promise<void>; readonly findWaiting: () => Promise<readonly number[]> };
  readonly schedules: readonly ScheduledTask[];
  /** Only where the quota state lives in this process. */
  readonly quotaSchedules: readonly ScheduledTask[];
  /** Work that follows a change of prices, in whatever process they were changed. */
  readonly priceChange: { readonly subscribe: (listener: () => void) => void; readonly run: () => Promise<unknown> };
}

/** THE table of the worker: which event or schedule runs which use case. Everything a worker does is named here. */
export function subscriptions(resolve: Resolve): Subscriptions {
  return {
    // Events.
    spend: {
      onWake: async (shard) => void (await resolve(PostPendingSpend).execute({ shard })),
      findWaiting: async () => await resolve(SweepPending).execute(),
    },
    priceChange: {
      subscribe: (listener) => resolve(PriceBook).onChange(listener),
      run: async () => await resolve(RequeueQuarantined).execute(),
    },
    // Schedules.
    schedules: [
      { name: 'refresh-prices', everyMs: SECOND_MS, run: async () => await resolve(PriceBook).refresh() },
      { name: 'expire-lots', everyMs: MINUTE_MS, run: async () => await resolve(ExpireLots).execute() },
      { name: 'keep-partitions-ahead', everyMs: DAY_MS, run: async () => await resolve(KeepPartitionsAhead).execute() },
      { name: 'forget-old-event-keys', everyMs: HOUR_MS, run: async () => await resolve(ForgetOldEventKeys).execute() },
      { name: 'write-decisions', everyMs: SECOND_MS, run: async () => await resolve(DecisionLog).flush() },
      { name: 'follow-time-zones', everyMs: MINUTE_MS, run: async () => await resolve(FollowTimeZones).execute() },
      { name: 'warm-budgets', everyMs: SECOND_MS, run: async () => await resolve(WarmBudgets).execute() },
      { name: 'count-shared-budgets', everyMs: SECOND_MS, run: async () => await resolve(CountSharedBudgets).execute() },
      { name: 'forget-old-quota-rows', everyMs: HOUR_MS, run: async () => await resolve(ForgetOldQuotaRows).execute() },
      { name: 'tell-crossings', everyMs: SECOND_MS, run: async () => await resolve(TellCrossings).execute() },
      { name: 'raise-noted-alerts', everyMs: SECOND_MS, run: async () => await resolve(RaiseNotedAlerts).execute() },
      { name: 'route-alerts', everyMs: SECOND_MS, run: async () => await resolve(RouteAlerts).execute() },
      { name: 'deliver-alerts', everyMs: SECOND_MS, run: async () => await resolve(DeliverAlerts).execute() },
      { name: 'forget-old-alerts', everyMs: DAY_MS, run: async () => await resolve(ForgetOldAlerts).execute() },
      {
        name: 'trim-outbox',
        everyMs: HOUR_MS,
        run: async () => await trimOutbox(resolve(Database), dayBefore(resolve(Clock)), [CROSSED_TOPIC, NOTED_ALERTS_TOPIC]),
      },
    ],
    // A booking is visible to authorize within 50 ms, a hold ends at most half a second late.
    quotaSchedules: [
      { name: 'relay-balances', everyMs: 50, run: async () => await resolve(RelayBalances).execute() },
      // Small batches: the rows of a tenth of a second at full load would keep the event loop, and every decision, waiting for milliseconds.
      { name: 'write-holds', everyMs: 25, run: async () => (resolve(QuotaService).mayPromise ? await resolve(HoldJournal).flush() : undefined) },
      { name: 'sweep-holds', everyMs: 250, run: async () => await resolve(SweepHolds).execute() },
      { name: 'find-forgotten-holds', everyMs: SECOND_MS, run: async () => await resolve(SweepHolds).findForgotten() },
      // What lies idle is back within two looks, a minute apart.
      { name: 'reclaim-leases', everyMs: 5 * SECOND_MS, run: async () => await resolve(ReclaimLeases).execute() },
    ],
  };
}

function dayBefore(clock: Clock): Date {
  return new Date(clock.now().getTime() - DAY_MS);
}
