import { setImmediate as immediate, setTimeout as delay } from 'node:timers/promises';

/** The result of `work`, or null when it takes longer: then it goes on, and `onLate` hears what came of it. */
export async function withinDeadline<T extends object>(work: Promise<T>, deadlineMs: number, onLate: (result: T) => void): Promise<T | null> {
  const timer = new AbortController();
  // After a busy stretch of the event loop the timer is heard before the answers that have arrived: those come first.
  const deadline = delay(deadlineMs, null, { signal: timer.signal })
    .then(async () => await immediate(null))
    .catch(() => null);
  const first = await Promise.race([work, deadline]).finally(() => timer.abort());
  if (first === null) void work.then(onLate, () => undefined);
  return first;
}
