/**
 * How ingestion tells the worker that rows are waiting: "look at these shards". Guarantees: fire and forget (a caller never waits and
 * never fails, whatever the queue does), and at most one message per shard and 250 ms, because on PostgreSQL each costs a commit even
 * when it is swallowed as a duplicate. Losing one loses no event: the rows are in PostgreSQL and the worker's sweep finds them.
 */
export abstract class SpendWakeUp {
  /** Call after the commit that made the rows visible. */
  abstract wake(shards: readonly number[]): void;
}

/** A posting costs a dozen statements whatever its size: under load four larger ones a second and shard leave the machine to ingestion, and a person waiting for a balance does not notice. */
const MIN_INTERVAL_MS = 250;

interface ShardState {
  scheduled: boolean;
  sending: boolean;
  /** A wake-up arrived while one was being sent: its rows may be younger than what that one makes the worker see. */
  again: boolean;
  sentAt: number;
}

/** Puts the interval and the no-waiting rule in front of whatever carries the message. */
export class ThrottledWakeUp extends SpendWakeUp {
  private readonly shards = new Map<number, ShardState>();
  private readonly timers = new Set<NodeJS.Timeout>();
  private closed = false;

  constructor(
    private readonly send: (shard: number) => Promise<void>,
    private readonly onFailure: (error: unknown) => void,
  ) {
    super();
  }

  override wake(shards: readonly number[]): void {
    if (this.closed) return;
    for (const shard of shards) {
      const state = this.stateOf(shard);
      if (state.sending) state.again = true;
      else if (!state.scheduled) this.schedule(shard, state);
    }
  }

  /** No message is sent after this. */
  close(): void {
    this.closed = true;
    for (const timer of this.timers) clearTimeout(timer);
    this.timers.clear();
  }

  private schedule(shard: number, state: ShardState): void {
    state.scheduled = true;
    const timer = setTimeout(
      () => {
        this.timers.delete(timer);
        state.scheduled = false;
        void this.deliver(shard, state);
      },
      Math.max(0, state.sentAt + MIN_INTERVAL_MS - performance.now()),
    );
    this.timers.add(timer);
  }

  private async deliver(shard: number, state: ShardState): Promise<void> {
    state.sending = true;
    state.sentAt = performance.now();
    try {
      await this.send(shard);
    } catch (error) {
      this.onFailure(error);
    } finally {
      state.sending = false;
      if (state.again && !this.closed) {
        state.again = false;
        this.schedule(shard, state);
      }
    }
  }

  private stateOf(shard: number): ShardState {
    const found = this.shards.get(shard);
    if (found) return found;
    const created: ShardState = { scheduled: false, sending: false, again: false, sentAt: -MIN_INTERVAL_MS };
    this.shards.set(shard, created);
    return created;
  }
}
