/**
 * One beginning and one end for every process. Guarantees: a start that fails says why in one line and exits 1; SIGTERM and SIGINT
 * stop in order and exit 0; a stop that hangs is ended after a time, a second signal ends it at once; and a promise rejected without
 * a listener ends the process with 1, because its state is then unknown (what was acknowledged is in PostgreSQL).
 */
import type { Logger } from '../logging/logger.js';

/** Things to close, in the reverse of the order they were opened. */
export class Closers {
  private readonly closers: { name: string; close: () => Promise<unknown> }[] = [];

  add(name: string, close: () => Promise<unknown>): void {
    this.closers.push({ name, close });
  }

  /** Closes everything; what fails is reported and does not keep the rest from closing. */
  async closeAll(report: (error: unknown, name: string) => void): Promise<void> {
    for (let next = this.closers.pop(); next; next = this.closers.pop()) {
      const { name, close } = next;
      await close().catch((error: unknown) => report(error, name));
    }
  }
}

/** Longer than a statement may take and PostgreSQL's fast shutdown, shorter than the grace period of docker-compose.yml (40 s). */
const STOP_TIMEOUT_MS = 35_000;

/** Runs `start` and then waits for a signal. Does not return. */
export async function runProgram(input: { logger: Logger; start: (closers: Closers) => Promise<void> }): Promise<void> {
  const { logger } = input;
  const closers = new Closers();
  let stopping = false;
  const stop = async (exitCode: number): Promise<never> => {
    setTimeout(() => process.exit(1), STOP_TIMEOUT_MS).unref();
    await closers.closeAll((error, name) => logger.error({ error, part: name }, 'did not stop cleanly'));
    process.exit(exitCode);
  };
  const onSignal = (signal: NodeJS.Signals): void => {
    if (stopping) process.exit(1);
    stopping = true;
    logger.info({ signal }, 'stopping');
    void stop(0);
  };
  process.on('SIGTERM', onSignal);
  process.on('SIGINT', onSignal);
  process.on('unhandledRejection', (error) => {
    logger.error({ error }, 'a promise was rejected and nobody listened');
    if (!stopping) void stop(1);
    stopping = true;
  });
  try {
    await input.start(closers);
  } catch (error) {
    if (stopping) return;
    stopping = true;
    logger.error({ error }, 'could not start');
    process.stderr.write(`\nTollgate could not start: ${error instanceof Error ? error.message : String(error)}\n`);
    await stop(1);
  }
}
