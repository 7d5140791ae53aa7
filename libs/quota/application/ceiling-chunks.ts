/**
 * How far ahead of what is promised a tenant's ceiling is raised: by a minute's burn, so that a busy tenant raises once a minute, and at most by
 * a quarter of what is left, so that a crash hides no more than that.
 */
import { MINUTE_MS, type Nano } from '#libs/kernel/index.js';
import { availableOf } from '../domain/wallet.js';
import type { ReserveCommand, WalletView } from './quota-store.js';

/** A chunk covers at least this many calls like the one that asks, or the call is committed by itself (strict). */
const CALLS_PER_CHUNK = 16n;
/** What a chunk covers of a tenant whose rate is not known yet. */
const FIRST_CHUNK_CALLS = 256n;
/** Tenants whose rate is remembered: those that raised last. The others get a first chunk again. */
const RATES_KEPT = 10_000;

interface Raise {
  readonly atMs: number;
  readonly promisedNano: Nano;
}

export class CeilingChunks {
  /** What those who wait for a higher ceiling ask for together: one raise serves them all. */
  private readonly demand = new Map<string, Nano>();
  private readonly lastRaise = new Map<string, Raise>();

  constructor(private readonly nowMs: () => number) {}

  /** What was promised since is not known any more. */
  forgetRates(): void {
    this.lastRaise.clear();
  }

  /** Does `work` while what the call may take counts among what is asked for. */
  async inDemand<T>(command: ReserveCommand, work: () => Promise<T>): Promise<T> {
    const amountNano = dearestOf(command);
    this.addDemand(command.tenantId, amountNano);
    return await work().finally(() => this.addDemand(command.tenantId, -amountNano));
  }

  /** At most what is left: more than that is refused by the wallet anyway. */
  demandOf(command: ReserveCommand, wallet: WalletView): Nano {
    const waitingNano = this.demand.get(command.tenantId) ?? dearestOf(command);
    const available = command.enforce ? availableOf(wallet, command.rule) : null;
    return available !== null && waitingNano > available ? available : waitingNano;
  }

  /** By how much to raise; null: not worth a ceiling, each call is committed by itself. */
  chunkOf(command: ReserveCommand, wallet: WalletView & { readonly promisedNano: Nano }): Nano | null {
    const available = command.enforce ? availableOf(wallet, command.rule) : null;
    return chunkFor(available, dearestOf(command), this.burnOfAMinute(command.tenantId, wallet.promisedNano, this.nowMs()));
  }

  /** The rate is that of what is promised from here on. */
  noteRaise(tenantId: string, promisedNano: Nano): void {
    this.lastRaise.delete(tenantId);
    this.lastRaise.set(tenantId, { atMs: this.nowMs(), promisedNano });
    const oldest = this.lastRaise.size > RATES_KEPT ? this.lastRaise.keys().next().value : undefined;
    if (oldest !== undefined) this.lastRaise.delete(oldest);
  }

  private addDemand(tenantId: string, amountNano: Nano): void {
    const sum = (this.demand.get(tenantId) ?? 0n) + amountNano;
    if (sum === 0n) this.demand.delete(tenantId);
    else this.demand.set(tenantId, sum);
  }

  /** What the tenant promised in a minute, at the rate since its ceiling was raised last. */
  private burnOfAMinute(tenantId: string, promisedNano: Nano, nowMs: number): Nano {
    const last = this.lastRaise.get(tenantId);
    if (!last || promisedNano <= last.promisedNano) return 0n;
    const elapsedMs = BigInt(Math.max(1, nowMs - last.atMs));
    return ((promisedNano - last.promisedNano) * BigInt(MINUTE_MS)) / elapsedMs;
  }
}

/** What a candidate takes of the wallet at most: a ladder may be dearer than what was asked for. */
function dearestOf({ candidates: [asked, ...ladder] }: ReserveCommand): Nano {
  return ladder.reduce((dearest, { amountNano }) => (amountNano > dearest ? amountNano : dearest), asked.amountNano);
}

/**
 * A minute's burn, but at most a quarter of what is left, so that a crash hides at most that; null when that is too little for a few
 * calls. Without a limit (`availableNano` null) nothing is lost by hiding more.
 */
function chunkFor(availableNano: Nano | null, amountNano: Nano, burnNano: Nano): Nano | null {
  const firstNano = amountNano * FIRST_CHUNK_CALLS;
  const wantedNano = burnNano > firstNano ? burnNano : firstNano;
  if (availableNano === null) return wantedNano;
  const quarterNano = availableNano / 4n;
  const chunkNano = quarterNano < wantedNano ? quarterNano : wantedNano;
  return chunkNano >= amountNano * CALLS_PER_CHUNK ? chunkNano : null;
}
