/**
 * Open holds by the quarter second in which they expire. A hold that ends is taken out at once, so the memory is that of the open holds:
 * a heap would keep nine million ended ones at 10,000 allows a second and a TTL of 15 minutes.
 */
const BUCKET_MS = 250;

export interface HoldRef {
  readonly tenantId: string;
  readonly holdId: string;
}

export class ExpiryBuckets {
  private readonly buckets = new Map<number, Map<string, string>>();
  /** No bucket before this one has entries. */
  private earliest = Number.POSITIVE_INFINITY;

  add(hold: HoldRef, expiresAtMs: number): void {
    const bucket = bucketOf(expiresAtMs);
    const entries = this.buckets.get(bucket);
    if (entries) entries.set(hold.holdId, hold.tenantId);
    else this.buckets.set(bucket, new Map([[hold.holdId, hold.tenantId]]));
    if (bucket < this.earliest) this.earliest = bucket;
  }

  remove(holdId: string, expiresAtMs: number): void {
    const bucket = bucketOf(expiresAtMs);
    const entries = this.buckets.get(bucket);
    if (!entries) return;
    entries.delete(holdId);
    if (entries.size === 0) this.buckets.delete(bucket);
  }

  /** Removes and returns up to `limit` holds whose quarter second is over: never early, at most 250 ms late plus the caller's interval. */
  takeDue(nowMs: number, limit: number): HoldRef[] {
    const due: HoldRef[] = [];
    const current = bucketOf(nowMs);
    if (this.earliest >= current) return due;
    const past = [...this.buckets.keys()].filter((bucket) => bucket < current).sort((a, b) => a - b);
    for (const bucket of past) {
      for (const [holdId, tenantId] of this.buckets.get(bucket) ?? []) {
        if (due.length >= limit) return due;
        due.push({ tenantId, holdId });
        this.remove(holdId, bucket * BUCKET_MS);
      }
    }
    this.earliest = current;
    for (const bucket of this.buckets.keys()) if (bucket < this.earliest) this.earliest = bucket;
    return due;
  }

  clear(): void {
    this.buckets.clear();
    this.earliest = Number.POSITIVE_INFINITY;
  }
}

function bucketOf(atMs: number): number {
  return Math.floor(atMs / BUCKET_MS);
}
