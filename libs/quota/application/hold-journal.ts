/**
 * Writes holds to PostgreSQL: at once and awaited for strict ones (group-committed across requests), behind and in batches for the
 * others. A fast hold that ended before its batch was written leaves no row: nothing was lost, and half of all traffic is that short.
 * What a crash may lose is bounded by the ceiling, not by this queue. A hold the database refuses fails alone, not its batch.
 */
import { DomainError } from '#libs/kernel/index.js';
import { isUncharged, type Hold } from '../domain/hold.js';

/** Writes one batch in one transaction, if the epochs it was promised under still count. @throws DomainError storage.unavailable, quota.stale_epoch */
export type WriteHolds = (ended: readonly Hold[], live: readonly Hold[], epochs: readonly bigint[]) => Promise<void>;

interface Waiting {
  /** Null waits for everything noted so far. */
  readonly holdId: string | null;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/** Keeps a statement of 27 arrays near a megabyte. */
const BATCH = 2_000;
/** Short holds without a row that can still be looked up, so that a repeated settle or release finds what it ended. */
const LATELY_ENDED = 10_000;

export class HoldJournal {
  /** Latest state of what is to be written, by hold. */
  private dirty = new Map<string, Hold>();
  /** What is being written at this moment. */
  private underWay: ReadonlyMap<string, Hold> = new Map();
  private waiting: Waiting[] = [];
  /** Open holds whose row exists, or may exist after a commit whose answer was lost: their end has to be written. */
  private readonly written = new Set<string>();
  private readonly lately = new Map<string, Hold>();
  private writing: Promise<void> | null = null;
  private readonly recordedListeners: ((holds: readonly Hold[]) => void)[] = [];
  /** Of holds that must be committed before the store of their epoch is lost, or not at all. */
  private readonly epochs = new Map<string, bigint>();

  /**
   * @param shared other processes end holds too: nobody knows which rows exist, so every end is written, also of a hold without a row, and a
   * row that ended stays ended when its beginning is written late
   */
  constructor(
    private readonly write: WriteHolds,
    private readonly onFailure: (error: unknown) => void,
    private readonly shared = false,
  ) {}

  /**
   * Resolves after the commit. On failure nothing may be promised on the hold: the caller ends it and notes the end.
   * @param epoch what it was promised under; it is refused when another has begun
   */
  async commit(hold: Hold, epoch: bigint): Promise<void> {
    this.dirty.set(hold.holdId, hold);
    this.epochs.set(hold.holdId, epoch);
    await this.wait(hold.holdId).finally(() => this.epochs.delete(hold.holdId));
  }

  /** Remembers the hold's new state for the next batch. */
  note(hold: Hold): void {
    this.dirty.set(hold.holdId, hold);
  }

  /** Rows that exist already, after a load. */
  known(holds: readonly Hold[]): void {
    if (this.shared) return;
    for (const hold of holds) this.written.add(hold.holdId);
  }

  /** Tells of holds that a crash can no longer lose. */
  onRecorded(listener: (holds: readonly Hold[]) => void): void {
    this.recordedListeners.push(listener);
  }

  /** Whether the hold's row exists, or may exist. */
  isWritten(holdId: string): boolean {
    return this.shared || this.written.has(holdId);
  }

  /** Tenants with anything that is not written yet. */
  tenantsWithBacklog(): string[] {
    return [...new Set([...this.dirty.values()].map((hold) => hold.tenantId))];
  }

  /** Whether the hold's row is there as it is now: what was written of it is answered, and nothing newer waits. */
  isCommitted(holdId: string): boolean {
    return this.written.has(holdId) && !this.dirty.has(holdId) && !this.underWay.has(holdId);
  }

  /** A hold that has no row, or not this state of it: not yet, or never because it was short. */
  find(holdId: string): Hold | null {
    return this.dirty.get(holdId) ?? this.underWay.get(holdId) ?? this.lately.get(holdId) ?? null;
  }

  /** The tenant's hold of that call, by its digest, when it has no row yet. */
  findByCall(tenantId: string, callDigest: string): Hold | null {
    for (const holds of [this.dirty, this.underWay])
      for (const hold of holds.values()) if (hold.callDigest === callDigest && hold.tenantId === tenantId) return hold;
    return null;
  }

  get backlog(): number {
    return this.dirty.size;
  }

  /** Writes everything noted so far. @throws DomainError storage.unavailable; then it stays noted */
  async flush(): Promise<void> {
    while (this.dirty.size === 0) {
      if (!this.writing) return;
      // What fails under way is noted again; what the next batch has taken meanwhile is under way once more.
      await this.writing;
    }
    await this.wait(null);
  }

  private async wait(holdId: string | null): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.waiting.push({ holdId, resolve, reject });
      void this.pump();
    });
  }

  private async pump(): Promise<void> {
    if (this.writing) return;
    this.writing = this.writeAll();
    await this.writing;
    this.writing = null;
    if (this.waiting.length > 0) void this.pump();
  }

  /** Never rejects: failures go to those who wait, or to the log. */
  private async writeAll(): Promise<void> {
    const holds = [...this.dirty.values()];
    const waiting = this.waiting.splice(0);
    this.underWay = this.dirty;
    this.dirty = new Map();
    const failed = new Map<string, unknown>();
    let unavailable: unknown = null;
    for (let start = 0; start < holds.length; start += BATCH) {
      const batch = holds.slice(start, start + BATCH);
      unavailable ??= await this.writeBatch(batch, failed);
      if (unavailable !== null) this.keep(batch);
    }
    this.underWay = new Map();
    if (unavailable !== null && waiting.length === 0) this.onFailure(unavailable);
    for (const { holdId, resolve, reject } of waiting) {
      const error = unavailable ?? (holdId === null ? undefined : failed.get(holdId));
      if (error === undefined || error === null) resolve();
      else reject(error);
    }
  }

  private keep(holds: readonly Hold[]): void {
    for (const hold of holds) if (!this.dirty.has(hold.holdId)) this.dirty.set(hold.holdId, hold);
  }

  /** The error that makes every other batch fail too, or null. What is wrong with one hold goes to `failed`. */
  private async writeBatch(holds: readonly Hold[], failed: Map<string, unknown>): Promise<unknown> {
    const ended: Hold[] = [];
    const live: Hold[] = [];
    const short: Hold[] = [];
    for (const hold of holds) {
      // One that ran out gets its row in any case, whether an earlier batch wrote one or failed to: somebody has to find it.
      if (hold.state === 'active' || hold.state === 'unresolved') live.push(hold);
      if (hold.state === 'unresolved' || (hold.state !== 'active' && this.isWritten(hold.holdId))) ended.push(hold);
      else if (hold.state !== 'active') short.push(hold);
    }
    if (this.shared) live.push(...holds.filter((hold) => hold.state === 'settled' || hold.state === 'released'));
    else for (const hold of live) if (hold.state === 'active' || isUncharged(hold)) this.written.add(hold.holdId);
    const epochs = this.epochs.size === 0 ? [] : [...new Set(holds.flatMap((hold) => this.epochs.get(hold.holdId) ?? []))];
    try {
      if (ended.length > 0 || live.length > 0) await this.write(ended, live, epochs);
    } catch (error) {
      if (error instanceof DomainError && error.kind === 'unavailable') return error;
      return await this.writeAround(holds, error, failed);
    }
    for (const hold of ended) if (!isUncharged(hold)) this.written.delete(hold.holdId);
    for (const hold of short) this.rememberShort(hold);
    for (const listener of this.recordedListeners) listener(holds);
    return null;
  }

  private async writeAround(holds: readonly Hold[], error: unknown, failed: Map<string, unknown>): Promise<unknown> {
    const [only] = holds;
    if (holds.length === 1 && only) {
      failed.set(only.holdId, error);
      this.onFailure(error);
      return null;
    }
    const middle = Math.ceil(holds.length / 2);
    return (await this.writeBatch(holds.slice(0, middle), failed)) ?? (await this.writeBatch(holds.slice(middle), failed));
  }

  private rememberShort(hold: Hold): void {
    this.lately.set(hold.holdId, hold);
    if (this.lately.size <= LATELY_ENDED) return;
    const oldest = this.lately.keys().next().value;
    if (oldest !== undefined) this.lately.delete(oldest);
  }
}
