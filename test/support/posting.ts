/** Runs the poster by hand, as the worker would, until nothing waits: tests need no queue, no timer and no sleep. */
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { RaiseNotedAlerts } from '#libs/alerting/index.js';
import { PostPendingSpend, SweepPending } from '#libs/metering/index.js';
import { RelayBalances, SweepHolds, TellCrossings } from '#libs/quota/index.js';

/** Posts every pending event of the application's database. Returns how many. */
export async function postEverything(app: NestFastifyApplication): Promise<number> {
  let posted = 0;
  for (const shard of await app.get(SweepPending).execute()) posted += (await app.get(PostPendingSpend).execute({ shard })).posted;
  return posted;
}

/** Posts what waits and tells the quota state, as the worker's loops would. */
export async function settleEverything(app: NestFastifyApplication): Promise<void> {
  await postEverything(app);
  await app.get(RelayBalances).execute();
}

/** Turns what was noted into alerts, as the worker's loops would. */
export async function raiseAlerts(app: NestFastifyApplication): Promise<void> {
  await app.get(TellCrossings).execute();
  await app.get(RaiseNotedAlerts).execute();
}

/** Ends and charges the holds whose time ran out, as the worker's loops would. */
export async function sweepHolds(app: NestFastifyApplication): Promise<void> {
  await app.get(SweepHolds).findForgotten();
  await app.get(SweepHolds).execute();
  await settleEverything(app);
}
