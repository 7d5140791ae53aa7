/** Where the client says what nobody waits for: a report that was not taken, calls that went unchecked. `console` fits. */
export interface Logger {
  warn(message: string): void;
  error(message: string): void;
}

const EVERY_MS = 60_000;

/** Says that something keeps failing once a minute and not once a call. */
export class FailureLog {
  private loggedAtMs = Number.NEGATIVE_INFINITY;
  private unsaid = 0;

  constructor(private readonly logger: Logger) {}

  /** @param message gets the number of failures since the last line */
  note(message: (count: number) => string): void {
    this.unsaid += 1;
    const nowMs = performance.now();
    if (nowMs - this.loggedAtMs < EVERY_MS) return;
    this.logger.error(message(this.unsaid));
    this.loggedAtMs = nowMs;
    this.unsaid = 0;
  }
}
