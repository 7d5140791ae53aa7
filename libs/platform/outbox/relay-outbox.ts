/**
 * Brings waiting facts of one topic to whoever acts on them, at least once: a row is removed only after it was acted on, so whatever dies in
 * between is done again, and acting twice must change nothing. A row that fails stays and is tried again in the next round; it holds up no
 * other: a batch that fails is taken row by row, and a round that has met too many failures goes on behind them the next time.
 */
import { DomainError } from '../../kernel/index.js';
import type { Database } from '../postgres/database.js';
import { dropOutbox, readOutbox, type WaitingRow } from './read-outbox.js';

const BATCH_ROWS = 200;
/** Statements that a round may spend on what fails: where everything does, the next second is early enough. */
const FAILURES_OF_A_ROUND = 400;

export interface Relayed {
  readonly delivered: number;
  /** Still waiting. */
  readonly failed: number;
}

export class OutboxRelay {
  /** Failed attempts since the process started. */
  failures = 0;
  private after = 0n;

  constructor(
    private readonly database: Database,
    private readonly topic: string,
    private readonly deliver: (rows: readonly WaitingRow[]) => Promise<void>,
    /** Once per round that failed in part. */
    private readonly onFailure: (error: unknown, failed: number) => void,
  ) {}

  /** One round over everything that waits. @throws DomainError storage.unavailable */
  async run(): Promise<Relayed> {
    let delivered = 0;
    let failed = 0;
    let why: unknown;
    for (;;) {
      const rows = await readOutbox(this.database, [this.topic], BATCH_ROWS, this.after);
      const { done, error } = await this.attempt(rows);
      await dropOutbox(this.database, done);
      delivered += done.length;
      failed += rows.length - done.length;
      why = error ?? why;
      const isLast = rows.length < BATCH_ROWS;
      this.after = isLast ? 0n : (rows.at(-1)?.outboxId ?? 0n);
      if (isLast || failed >= FAILURES_OF_A_ROUND) break;
    }
    this.failures += failed;
    if (failed > 0) this.onFailure(why, failed);
    return { delivered, failed };
  }

  private async attempt(rows: readonly WaitingRow[]): Promise<{ done: readonly WaitingRow[]; error: unknown }> {
    if (rows.length === 0) return { done: [], error: undefined };
    try {
      await this.deliver(rows);
      return { done: rows, error: undefined };
    } catch (error) {
      if (isAway(error)) throw error;
      if (rows.length === 1) return { done: [], error };
    }
    const done: WaitingRow[] = [];
    let last: unknown;
    for (const row of rows) {
      const single = await this.attempt([row]);
      done.push(...single.done);
      last = single.error ?? last;
    }
    return { done, error: last };
  }
}

function isAway(error: unknown): boolean {
  return error instanceof DomainError && error.kind === 'unavailable';
}
