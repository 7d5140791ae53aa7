/**
 * One connection to one Redis server, and the epoch under which its state counts. Guarantees: nothing is sent before the server behind this
 * very connection has said who it is and the epoch given to that server was confirmed in PostgreSQL, because a server that came back with
 * old data looks like one that never left; no call waits longer than the deadline; and while an answer is overdue nothing more is sent, so
 * that a server that hangs is met by one waiting call and not by a pile of them.
 */
import { Redis, type RedisOptions } from 'ioredis';
import { DomainError, SECOND_MS } from '#libs/kernel/index.js';
import { identityOf } from './identity.js';
import type { Reply } from './replies.js';
import type { Script } from './scripts.js';

/** Who was given which epoch, in PostgreSQL. */
export interface NodeRegistry {
  /**
   * The epoch of the server behind `node`: the same one while it is the same server and has not lost it, else the next.
   * @throws DomainError storage.unavailable, quota.newer_layout
   */
  readonly claim: (
    node: string,
    runId: string,
    lost: bigint | null,
  ) => Promise<{ readonly epoch: bigint; /** Given by this very call. */ readonly isFresh: boolean }>;
  readonly epochs: () => Promise<ReadonlyMap<string, bigint>>;
  /** Nodes that serve no more are forgotten: what comes back under their names is another server. */
  readonly keepOnly: (nodes: readonly string[]) => Promise<void>;
}

export interface NodeSettings {
  /** After this a call fails; what it did is taken back when its answer comes after all. */
  readonly deadlineMs: number;
}

export interface NodeListener {
  /** The server is another one than before, or has the same epoch as ever and may be asked again. */
  readonly onReady: (node: RedisNode, isNew: boolean) => void;
  /** A slot is served elsewhere. */
  readonly onMoved: () => void;
  readonly report: (message: string, error: unknown) => void;
}

/** More calls than this wait for one server only when it is in trouble: at 40,000 scripts a second it is 50 ms of work. */
const MAX_IN_FLIGHT = 2_000;
/** A connection whose answer is overdue so long is made anew: packets may vanish for ever. */
const RECYCLE_MS = 2 * SECOND_MS;
const VERIFY_DEADLINE_MS = 5 * SECOND_MS;
const RETRY_MS = 250;
const MARKER_TRIES = 4;
const MARKER_WAIT_MS = 25;
const MAX_BACKOFF_MS = 1_000;

export class RedisNode {
  private readonly redis: Redis;
  private epochNow: bigint | null = null;
  private lastEpoch: bigint | null = null;
  private connection = 0;
  private verifying: Promise<void> | null = null;
  private inFlight = 0;
  private overdue = 0;
  private overdueSince: number | null = null;
  private startedAt: number | null = null;
  private closed = false;
  /** Why it cannot be used, for readiness. */
  problem: string | null = 'not connected yet';

  constructor(
    readonly name: string,
    target: string | RedisOptions,
    /** A key of this server that says under which epoch its state was made: it is gone when somebody emptied the server. */
    private readonly marker: string,
    private readonly registry: NodeRegistry,
    private readonly settings: NodeSettings,
    private readonly listener: NodeListener,
  ) {
    const options: RedisOptions = {
      lazyConnect: true,
      enableOfflineQueue: false,
      // What was under way when the connection broke is not sent again: nobody knows what became of it.
      autoResendUnfulfilledCommands: false,
      maxRetriesPerRequest: 0,
      connectTimeout: RECYCLE_MS,
      retryStrategy: (attempt) => Math.min(attempt * 50, MAX_BACKOFF_MS),
      noDelay: true,
    };
    this.redis = typeof target === 'string' ? new Redis(target, options) : new Redis({ ...target, ...options });
    this.redis.on('error', (error) => this.listener.report('the quota store is in trouble', error));
    this.redis.on('ready', () => void this.verified());
    this.redis.on('close', () => this.lost());
    void this.redis.connect().catch(() => undefined);
  }

  /** The epoch its state counts under, or null while that is not known. */
  get epoch(): bigint | null {
    return this.epochNow;
  }

  /** @throws DomainError quota.store_away, quota.store_late; with `onLate` the answer of a call that was given up is told, or that there will be none */
  async run(script: Script, keys: readonly string[], args: readonly string[], onLate?: (reply: Reply | undefined) => void): Promise<Reply> {
    if (this.epochNow === null) throw away(this.problem ?? 'the quota store is not connected');
    if (this.overdue > 0) throw away('the quota store does not answer');
    if (this.inFlight >= MAX_IN_FLIGHT) throw away('too many calls wait for the quota store');
    this.inFlight += 1;
    const call = this.evaluate(script, keys, args).finally(() => (this.inFlight -= 1));
    return await this.withinDeadline(call, onLate);
  }

  /** A plain command, by the same rules. */
  async command<T>(work: (redis: Redis) => Promise<T>): Promise<T> {
    if (this.epochNow === null || this.overdue > 0) throw away(this.problem ?? 'the quota store is not connected');
    return await this.withinDeadline(work(this.redis));
  }

  /** Asks again who the server is: another process says that it was given a new epoch. */
  recheck(): void {
    if (this.redis.status !== 'ready') return;
    this.epochNow = null;
    void this.verified();
  }

  /** Makes sure that nobody emptied the server; a tenant that is not there may have been. @throws DomainError quota.store_away */
  async confirm(): Promise<void> {
    const epoch = this.epochNow;
    if ((await this.command(async (redis) => await redis.get(this.marker))) === String(epoch)) return;
    this.recheck();
    await this.verifying;
  }

  /** Makes a connection anew that hangs; called every now and then. */
  tend(): void {
    const now = performance.now();
    const hangs = this.overdueSince !== null && now - this.overdueSince > RECYCLE_MS;
    const waiting = this.redis.status === 'connect' || this.redis.status === 'connecting';
    this.startedAt = waiting ? (this.startedAt ?? now) : null;
    if (!hangs && !(this.startedAt !== null && now - this.startedAt > RECYCLE_MS)) return;
    this.startedAt = null;
    this.redis.disconnect(true);
  }

  close(): void {
    this.closed = true;
    this.epochNow = null;
    this.redis.disconnect();
  }

  /** The server's digest of a script is asked for; one that does not know it is given the text. */
  private async evaluate(script: Script, keys: readonly string[], args: readonly string[]): Promise<Reply> {
    const rest = [...keys, ...args];
    try {
      return (await this.redis.evalsha(script.sha, keys.length, ...rest)) as Reply;
    } catch (error) {
      const message = error instanceof Error ? error.message : '';
      if (message.startsWith('NOSCRIPT')) return (await this.redis.eval(script.text, keys.length, ...rest)) as Reply;
      if (message.startsWith('MOVED') || message.startsWith('ASK') || message.startsWith('CLUSTERDOWN') || message.startsWith('READONLY')) {
        this.listener.onMoved();
        throw new NothingDone(message);
      }
      if (/^(OOM|LOADING|MASTERDOWN|NOREPLICAS|MISCONF|BUSY)/.test(message)) throw new NothingDone(message);
      throw error;
    }
  }

  private async withinDeadline<T>(call: Promise<T>, onLate?: (reply: T | undefined) => void): Promise<T> {
    return await new Promise<T>((resolve, reject) => {
      let late = false;
      const timer = setTimeout(() => {
        late = true;
        this.overdue += 1;
        this.overdueSince ??= performance.now();
        reject(away('the quota store did not answer in time'));
      }, this.settings.deadlineMs);
      const settled = (): void => {
        clearTimeout(timer);
        if (!late) return;
        this.overdue -= 1;
        if (this.overdue === 0) this.overdueSince = null;
      };
      call.then(
        (reply) => {
          settled();
          if (late) onLate?.(reply);
          else resolve(reply);
        },
        (error: unknown) => {
          settled();
          const known = error instanceof NothingDone;
          if (!known) onLate?.(undefined);
          if (!late) reject(away(known ? error.message : 'the quota store was lost', error));
        },
      );
    });
  }

  private lost(): void {
    this.connection += 1;
    this.epochNow = null;
    this.problem = 'not connected';
  }

  private async verified(): Promise<void> {
    this.verifying ??= this.verify().finally(() => {
      this.verifying = null;
      // The connection was made anew at the very end of it.
      if (this.epochNow === null && this.redis.status === 'ready' && !this.closed) void this.verified();
    });
    await this.verifying;
  }

  private async verify(): Promise<void> {
    while (this.redis.status === 'ready' && !this.closed) {
      const { connection } = this;
      try {
        const identity = await this.asked();
        this.problem = identity.problem;
        if (identity.problem === null) {
          const epoch = await this.claimed(identity.runId);
          // A connection that broke meanwhile may lead to another server now.
          if (connection === this.connection && this.redis.status === 'ready') this.take(epoch);
          break;
        }
        this.listener.report(identity.problem, null);
      } catch (error) {
        this.problem = 'who the quota store is could not be confirmed';
        this.listener.report(this.problem, error);
      }
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }

  /** The epoch whose marker the server has. A server that lost its marker has lost state, and gets the next epoch. */
  private async claimed(runId: string): Promise<bigint> {
    let lost: bigint | null = null;
    for (let tries = 0; tries < MARKER_TRIES; tries += 1) {
      const { epoch, isFresh } = await this.registry.claim(this.name, runId, lost);
      if (isFresh) {
        await this.redis.set(this.marker, String(epoch));
        return epoch;
      }
      if (await this.isMarked(epoch)) return epoch;
      lost = epoch;
    }
    throw away('the quota store does not keep its epoch');
  }

  /** Another process may have been given the epoch this very moment, and be about to mark the server. */
  private async isMarked(epoch: bigint): Promise<boolean> {
    for (let tries = 0; tries < MARKER_TRIES; tries += 1) {
      if ((await this.redis.get(this.marker)) === String(epoch)) return true;
      await new Promise((resolve) => setTimeout(resolve, MARKER_WAIT_MS));
    }
    return false;
  }

  private async asked(): Promise<ReturnType<typeof identityOf>> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => reject(away('the quota store did not say who it is')), VERIFY_DEADLINE_MS);
    });
    return identityOf(await Promise.race([this.redis.info(), late]).finally(() => clearTimeout(timer)));
  }

  private take(epoch: bigint): void {
    const isNew = epoch !== this.lastEpoch;
    this.lastEpoch = epoch;
    this.epochNow = epoch;
    this.problem = null;
    this.listener.onReady(this, isNew);
  }
}

/** The server refused before it did anything. */
class NothingDone extends Error {}

export function away(publicMessage: string, cause?: unknown): DomainError {
  return new DomainError({ code: 'quota.store_away', kind: 'unavailable', publicMessage, retryAfterMs: SECOND_MS, cause });
}
