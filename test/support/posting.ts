/** Runs the poster by hand, as the worker would, until nothing waits: tests need no queue, no timer and no sleep. */
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { PostPendingSpend, SweepPending } from '#libs/metering/index.js';

/** Posts every pending event of the application's database. Returns how many. */
export async function postEverything(app: NestFastifyApplication): Promise<number> {
  let posted = 0;
  for (const shard of await app.get(SweepPending).execute()) posted += (await app.get(PostPendingSpend).execute({ shard })).posted;
  return posted;
}
