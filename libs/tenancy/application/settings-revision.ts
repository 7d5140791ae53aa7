/**
 * Whether tenants, plans and keys are still as they were read. Every change of them raises one number in its own transaction, under a row
 * lock, so numbers become visible in their order; whoever knows the number knows that nothing changed. It is asked for while it is needed,
 * before its second is over, and in the background. Ages are measured on the monotonic clock from the begin of a question, because a
 * machine whose wall clock is set back must not keep a revoked key alive.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { DomainError } from '../../kernel/index.js';

const MAX_AGE_MS = 1_000;
// A decision before a call cannot wait longer; whoever asks then goes by what was known.
const ANSWER_MS = 500;
// While PostgreSQL is away nothing can be changed in it either; a process that alone is cut off is believed for so long.
const AWAY_MS = 300_000;
// Leaves a slow answer three quarters of a second before anybody has to wait for it.
const ASK_AFTER_MS = 250;

export type MonotonicNow = () => number;
export const monotonicNow: MonotonicNow = () => performance.now();

export class SettingsRevision {
  private known: bigint | null = null;
  private askedAt = Number.NEGATIVE_INFINITY;
  private asking: Promise<void> | null = null;
  private readonly listeners: (() => void)[] = [];

  constructor(
    /** Reads the number. @throws DomainError storage.unavailable */
    private readonly read: () => Promise<bigint>,
    private readonly now: MonotonicNow = monotonicNow,
  ) {}

  /** Called before anyone is told that the number is another. */
  onChange(listener: () => void): void {
    this.listeners.push(listener);
  }

  /** Whether what was read is known to have been right less than a second ago. */
  isFresh(): boolean {
    const ageMs = this.now() - this.askedAt;
    // A failure is told to those who wait for the answer.
    if (ageMs > ASK_AFTER_MS) void this.ask().catch(() => undefined);
    return ageMs <= MAX_AGE_MS;
  }

  /** Asks, if the last answer is more than a second old. @throws DomainError storage.unavailable, also when the answer takes half a second */
  async ensureFresh(): Promise<void> {
    if (this.now() - this.askedAt <= MAX_AGE_MS) return;
    const timer = new AbortController();
    const tooLate = delay(ANSWER_MS, 'too late', { signal: timer.signal }).catch(() => 'answered');
    const first = await Promise.race([this.ask(), tooLate]).finally(() => timer.abort());
    if (first === 'too late')
      throw new DomainError({ code: 'storage.unavailable', kind: 'unavailable', publicMessage: 'the database does not answer', retryAfterMs: 1_000 });
  }

  /** Whether what was known last may still be used by who cannot ask: decisions then go by each tenant's `on_store_failure`. */
  isBearable(): boolean {
    return this.now() - this.askedAt <= AWAY_MS;
  }

  private async ask(): Promise<void> {
    this.asking ??= this.askOnce().finally(() => {
      this.asking = null;
    });
    await this.asking;
  }

  private async askOnce(): Promise<void> {
    const askedAt = this.now();
    const revision = await this.read();
    if (revision !== this.known) for (const listener of this.listeners) listener();
    this.known = revision;
    this.askedAt = askedAt;
  }
}
