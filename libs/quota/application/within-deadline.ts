/** The result of `work`, or null when it takes longer: then it goes on, and `onLate` hears what came of it. */
export async function withinDeadline<T extends object>(work: Promise<T>, deadlineMs: number, onLate: (result: T) => void): Promise<T | null> {
  let timer: NodeJS.Timeout | undefined;
  const deadline = new Promise<null>((resolve) => {
    // After a busy stretch of the event loop the timer is heard before the answers that have arrived: those come first.
    timer = setTimeout(() => setImmediate(resolve, null), deadlineMs);
  });
  const first = await Promise.race([work, deadline]).finally(() => clearTimeout(timer));
  if (first === null) void work.then(onLate, () => undefined);
  return first;
}
