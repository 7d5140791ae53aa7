/**
 * Micro-batches the writes of concurrent requests: whoever waits while a commit is under way shares the next one, so that durability
 * costs one fsync for many events and no timer delays a lone one. The queue is bounded: beyond it callers are told to come back (503).
 * A batch that fails for a reason of its content is halved until the one poison entry is alone; only that one is refused (E7).
 */
import { DomainError, InvariantError } from '#libs/kernel/index.js';
import type { EventInbox, InboxEntry, InboxResult } from './inbox.js';

export interface GroupCommitLimits {
  /** Entries of one transaction; a larger request is a transaction of its own. */
  readonly maxBatchEntries: number;
  /** Entries waiting; beyond it a write is refused. */
  readonly maxQueuedEntries: number;
  /** Transactions at a time. All but the first begin only when a full batch waits: small ones side by side cost more than they hurry. */
  readonly writers: number;
}

// 2,000 rows keep a commit near 50 ms on a small machine; 40,000 queued ones are 100 MB at most and two seconds of work.
export const DEFAULT_GROUP_COMMIT: GroupCommitLimits = { maxBatchEntries: 2_000, maxQueuedEntries: 40_000, writers: 2 };

interface Waiting {
  readonly entries: readonly InboxEntry[];
  readonly resolve: (results: InboxResult[]) => void;
  readonly reject: (error: unknown) => void;
}

export class GroupCommit {
  private readonly queue: Waiting[] = [];
  /** Waiting and under way. */
  private queuedEntries = 0;
  private waitingEntries = 0;
  private busyWriters = 0;
  private idleListeners: (() => void)[] = [];

  constructor(
    private readonly inbox: EventInbox,
    private readonly limits: GroupCommitLimits = DEFAULT_GROUP_COMMIT,
  ) {}

  /** Resolves after the commit, results in entry order. @throws DomainError ingest.overloaded, storage.unavailable */
  async write(entries: readonly InboxEntry[]): Promise<InboxResult[]> {
    if (entries.length === 0) return [];
    if (this.queuedEntries + entries.length > this.limits.maxQueuedEntries) {
      throw new DomainError({
        code: 'ingest.overloaded',
        kind: 'unavailable',
        publicMessage: 'too many events are waiting to be stored; nothing was stored, try again',
        retryAfterMs: 1_000,
      });
    }
    this.queuedEntries += entries.length;
    this.waitingEntries += entries.length;
    return await new Promise<InboxResult[]>((resolve, reject) => {
      this.queue.push({ entries, resolve, reject });
      this.pump();
    });
  }

  /** Resolves once nothing is queued or under way: called before the process ends. */
  async drain(): Promise<void> {
    if (this.busyWriters === 0 && this.queue.length === 0) return;
    await new Promise<void>((resolve) => this.idleListeners.push(resolve));
  }

  private pump(): void {
    while (this.queue.length > 0 && this.mayBegin()) {
      const batch = this.takeBatch();
      this.busyWriters += 1;
      void this.commit(batch).finally(() => {
        this.busyWriters -= 1;
        this.pump();
        if (this.busyWriters === 0 && this.queue.length === 0) {
          for (const listener of this.idleListeners.splice(0)) listener();
        }
      });
    }
  }

  private mayBegin(): boolean {
    if (this.busyWriters === 0) return true;
    return this.busyWriters < this.limits.writers && this.waitingEntries >= this.limits.maxBatchEntries;
  }

  private takeBatch(): Waiting[] {
    const batch: Waiting[] = [];
    let size = 0;
    for (let next = this.queue[0]; next; next = this.queue[0]) {
      if (batch.length > 0 && size + next.entries.length > this.limits.maxBatchEntries) break;
      batch.push(next);
      size += next.entries.length;
      this.queue.shift();
    }
    this.waitingEntries -= size;
    return batch;
  }

  private async commit(batch: readonly Waiting[]): Promise<void> {
    const entries = batch.flatMap((waiting) => waiting.entries);
    try {
      const results = await this.writeAround(entries);
      let offset = 0;
      for (const waiting of batch) {
        waiting.resolve(results.slice(offset, offset + waiting.entries.length));
        offset += waiting.entries.length;
      }
    } catch (error) {
      for (const waiting of batch) waiting.reject(error);
    } finally {
      this.queuedEntries -= entries.length;
    }
  }

  private async writeAround(entries: readonly InboxEntry[]): Promise<InboxResult[]> {
    try {
      return await this.inbox.write(entries);
    } catch (error) {
      if (error instanceof DomainError || error instanceof InvariantError) throw error;
      const [only] = entries;
      if (entries.length === 1 && only) return await this.refusePoison(only, error);
      const middle = Math.ceil(entries.length / 2);
      return [...(await this.writeAround(entries.slice(0, middle))), ...(await this.writeAround(entries.slice(middle)))];
    }
  }

  private async refusePoison(entry: InboxEntry, cause: unknown): Promise<InboxResult[]> {
    const kept = entry.kind === 'report' ? entry.asDeadLetter() : null;
    if (kept === null) throw cause;
    const deadLetter = { ...kept, code: 'event.unstorable', path: null, detail: 'the database refused this event; it is kept for an operator' };
    return await this.inbox.write([{ kind: 'refused', deadLetter }]);
  }
}
