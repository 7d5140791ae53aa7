/**
 * Remembers, for fifteen minutes after a hold ended, that its call was answered: a repeat is told so instead of getting a second hold.
 * Compact on purpose: 64 bits of the call's digest in open-addressing tables, one table per minute, dropped whole. At 10,000 allows a
 * second, 15 minutes are nine million calls and 9e6 x 8 bytes / 0.6 load = 120 MB; a Map of strings would take a gigabyte.
 * Two calls of one quarter of an hour share 64 bits with a probability of one in 400,000 at that rate; the second is then refused as a repeat.
 */
const MINUTE_MS = 60_000;
const KEPT_MINUTES = 15;
const SMALLEST_TABLE = 1_024;
const MAX_LOAD = 0.6;

class FingerprintSet {
  private slots = new BigUint64Array(SMALLEST_TABLE);
  private size = 0;

  has(fingerprint: bigint): boolean {
    return this.slots[this.slotOf(fingerprint)] === fingerprint;
  }

  add(fingerprint: bigint): void {
    if (this.size >= this.slots.length * MAX_LOAD) this.grow();
    const slot = this.slotOf(fingerprint);
    if (this.slots[slot] === fingerprint) return;
    this.slots[slot] = fingerprint;
    this.size += 1;
  }

  /** The slot that holds the fingerprint, or the empty one where it belongs. Zero marks an empty slot. */
  private slotOf(fingerprint: bigint): number {
    const mask = this.slots.length - 1;
    let slot = Number(fingerprint & BigInt(mask));
    while (this.slots[slot] !== 0n && this.slots[slot] !== fingerprint) slot = (slot + 1) & mask;
    return slot;
  }

  private grow(): void {
    const old = this.slots;
    this.slots = new BigUint64Array(old.length * 2);
    for (const fingerprint of old) if (fingerprint !== 0n) this.slots[this.slotOf(fingerprint)] = fingerprint;
  }
}

export class ResolvedCalls {
  private readonly byMinute = new Map<number, FingerprintSet>();

  /** Remembers a call that ended at `resolvedAtMs`. */
  add(callDigest: string, resolvedAtMs: number): void {
    const minute = Math.floor(resolvedAtMs / MINUTE_MS);
    let table = this.byMinute.get(minute);
    if (!table) {
      this.dropBefore(minute - KEPT_MINUTES);
      table = new FingerprintSet();
      this.byMinute.set(minute, table);
    }
    table.add(fingerprintOf(callDigest));
  }

  /** Whether the call ended less than fifteen minutes (and at most sixteen) before `nowMs`. */
  has(callDigest: string, nowMs: number): boolean {
    const oldest = Math.floor(nowMs / MINUTE_MS) - KEPT_MINUTES;
    const fingerprint = fingerprintOf(callDigest);
    for (const [minute, table] of this.byMinute) {
      if (minute >= oldest && table.has(fingerprint)) return true;
    }
    return false;
  }

  clear(): void {
    this.byMinute.clear();
  }

  private dropBefore(minute: number): void {
    for (const known of this.byMinute.keys()) if (known < minute) this.byMinute.delete(known);
  }
}

/** 64 bits of the digest; 0 is moved to 1, because 0 marks an empty slot. */
function fingerprintOf(callDigest: string): bigint {
  return BigInt(`0x${callDigest.slice(0, 16)}`) || 1n;
}
