/**
 * Answers at most one second old, also "there is none": what another process changes (a revoked key, a suspended tenant) is seen here
 * within that second, and a flood of unknown ids costs one query a second each. Ages are measured on the monotonic clock, because a
 * machine whose wall clock is set back must not keep a revoked key alive.
 */
const MAX_AGE_MS = 1_000;
// Bounds memory against a stream of made-up ids: at the limit the whole cache is dropped, which costs one query each and no correctness.
const MAX_ENTRIES = 50_000;

export type MonotonicNow = () => number;
export const monotonicNow: MonotonicNow = () => performance.now();

export class FreshCache<Value> {
  private readonly entries = new Map<string, { readonly value: Value; readonly readAt: number }>();
  private generation = 0;

  constructor(private readonly now: MonotonicNow = monotonicNow) {}

  /** The value while it is fresh; undefined means it has to be read. */
  get(id: string): Value | undefined {
    const entry = this.entries.get(id);
    if (entry === undefined) return undefined;
    return this.now() - entry.readAt <= MAX_AGE_MS ? entry.value : undefined;
  }

  /** Marks the begin of a read; what was forgotten meanwhile is not stored by {@link Reading.keep}. */
  startReading(): Reading<Value> {
    const { generation } = this;
    const readAt = this.now();
    return {
      keep: (id, value) => {
        if (generation !== this.generation) return;
        if (this.entries.size >= MAX_ENTRIES) this.entries.clear();
        this.entries.set(id, { value, readAt });
      },
    };
  }

  /** Drops everything: something changed in this process. */
  clear(): void {
    this.generation += 1;
    this.entries.clear();
  }
}

export interface Reading<Value> {
  keep(id: string, value: Value): void;
}
