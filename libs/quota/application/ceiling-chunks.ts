/** How far ahead of need a ceiling is raised: what a minute takes, and never so much that a crash would hide more than a quarter of what is left. */
import { MINUTE_MS, type Nano } from '#libs/kernel/index.js';

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

export class BurnRates {
  private readonly lastRaise = new Map<string, Raise>();

  /** What the tenant promised in a minute, at the rate since its ceiling was raised last. */
  ofAMinute(tenantId: string, promisedNano: Nano, nowMs: number): Nano {
    const last = this.lastRaise.get(tenantId);
    if (!last || promisedNano <= last.promisedNano) return 0n;
    const elapsedMs = BigInt(Math.max(1, nowMs - last.atMs));
    return ((promisedNano - last.promisedNano) * BigInt(MINUTE_MS)) / elapsedMs;
  }

  note(tenantId: string, promisedNano: Nano, nowMs: number): void {
    this.lastRaise.delete(tenantId);
    this.lastRaise.set(tenantId, { atMs: nowMs, promisedNano });
    const oldest = this.lastRaise.size > RATES_KEPT ? this.lastRaise.keys().next().value : undefined;
    if (oldest !== undefined) this.lastRaise.delete(oldest);
  }

  clear(): void {
    this.lastRaise.clear();
  }
}

/**
 * A minute's burn, but at most a quarter of what is left, so that a crash hides at most that; null when that is too little for a few
 * calls. Without a limit (`availableNano` null) nothing is lost by hiding more.
 */
export function chunkFor(availableNano: Nano | null, amountNano: Nano, burnNano: Nano): Nano | null {
  const firstNano = amountNano * FIRST_CHUNK_CALLS;
  const wantedNano = burnNano > firstNano ? burnNano : firstNano;
  if (availableNano === null) return wantedNano;
  const quarterNano = availableNano / 4n;
  const chunkNano = quarterNano < wantedNano ? quarterNano : wantedNano;
  return chunkNano >= amountNano * CALLS_PER_CHUNK ? chunkNano : null;
}
