/** Waits for a condition that another process or timer brings about. Fails with what it waited for, never passes by waiting long enough. */
import { setTimeout as delay } from 'node:timers/promises';

const POLL_MS = 20;

export async function eventually(what: string, condition: () => boolean | Promise<boolean>, timeoutMs = 15_000): Promise<void> {
  for (const deadline = performance.now() + timeoutMs; !(await condition()); await delay(POLL_MS)) {
    if (performance.now() > deadline) throw new Error(`did not happen within ${timeoutMs} ms: ${what}`);
  }
}
