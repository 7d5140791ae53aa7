/**
 * Answers at most one second old, also "there is none": what another process changes (a revoked key, a suspended tenant) is seen here
 * within that second, and a flood of unknown ids costs one query each. They are given while {@link SettingsRevision} proves that nothing
 * changed since they were read, so a thousand busy tenants cost one small query a second instead of a thousand rows.
 */
import type { SettingsRevision } from './settings-revision.js';

// Bounds memory against a stream of made-up ids: beyond it the oldest are read again, which costs a query each and no correctness.
const MAX_ENTRIES = 150_000;

export class FreshCache<Value> {
  private readonly entries = new Map<string, Value>();
  private generation = 0;

  constructor(private readonly revision: SettingsRevision) {
    revision.onChange(() => this.clear());
  }

  /** The value while it is fresh; undefined means {@link find}. */
  get(id: string): Value | undefined {
    return this.revision.isFresh() ? this.entries.get(id) : undefined;
  }

  /**
   * As {@link get}, after asking whether anything changed if that is not known; undefined means it has to be read. While the database is
   * away, what was known last. @throws DomainError storage.unavailable when nothing was known
   */
  async find(id: string): Promise<Value | undefined> {
    try {
      await this.revision.ensureFresh();
    } catch (error) {
      const last = this.entries.get(id);
      if (last === undefined || !this.revision.isBearable()) throw error;
      return last;
    }
    return this.entries.get(id);
  }

  /** Marks the begin of a read; what was forgotten meanwhile is not stored by {@link Reading.keep}. */
  startReading(): Reading<Value> {
    const { generation } = this;
    return {
      keep: (id, value) => {
        if (generation !== this.generation) return;
        this.entries.delete(id);
        this.entries.set(id, value);
        if (this.entries.size <= MAX_ENTRIES) return;
        const oldest = this.entries.keys().next().value;
        if (oldest !== undefined) this.entries.delete(oldest);
      },
    };
  }

  /** Drops everything: something changed. */
  clear(): void {
    this.generation += 1;
    this.entries.clear();
  }
}

export interface Reading<Value> {
  keep(id: string, value: Value): void;
}
