/**
 * One beginning and one end for every process. Guarantees: a start that fails says why in one line and exits 1; SIGTERM and SIGINT
 * stop in order and exit 0; a stop that hangs is ended after a time, a second signal ends it at once; and a promise rejected without
 * a listener ends the process with 1, because its state is then unknown (what was acknowledged is in PostgreSQL).
 */
import { ConfigError, loadConfig, type Config } from '../config/config.js';
import { createLogger, type Logger } from '../logging/logger.js';

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

export interface Program {
  readonly config: Config;
  readonly logger: Logger;
  readonly closers: Closers;
}

/** Runs `start`; the process then lives until a signal. */
export async function runProgram(name: string, start: (program: Program) => Promise<void>): Promise<void> {
  const config = readConfig();
  const logger = createLogger({ level: config.logLevel });
  const closers = new Closers();
  let stopping = false;
  const stop = async (exitCode: number): Promise<void> => {
    if (stopping) return;
    stopping = true;
    setTimeout(() => process.exit(1), STOP_TIMEOUT_MS).unref();
    await closers.closeAll((error, part) => logger.error({ error, part }, 'did not stop cleanly'));
    process.exit(exitCode);
  };
  const onSignal = (signal: NodeJS.Signals): void => {
    if (stopping) process.exit(1);
    logger.info({ program: name, signal }, 'stopping');
    void stop(0);
  };
  process.on('SIGTERM', onSignal);
  process.on('SIGINT', onSignal);
  process.on('unhandledRejection', (error) => {
    logger.error({ program: name, error }, 'a promise was rejected and nobody listened');
    void stop(1);
  });
  try {
    await start({ config, logger, closers });
  } catch (error) {
    if (stopping) return;
    process.stderr.write(`\nTollgate could not start: ${reasonOf(error)}\n`);
    if (!(error instanceof ConfigError)) logger.error({ program: name, error }, 'could not start');
    await stop(1);
  }
}

function readConfig(): Config {
  try {
    return loadConfig();
  } catch (error) {
    process.stderr.write(`\nTollgate could not start: ${reasonOf(error)}\n`);
    process.exit(1);
  }
}

/** Node's connection errors to several addresses have an empty message of their own. */
function reasonOf(error: unknown): string {
  const inner = error instanceof AggregateError ? error.errors[0] : error;
  return inner instanceof Error ? inner.message : String(inner);
}
