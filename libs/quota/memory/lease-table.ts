/**
 * What one tenant was granted of shared limits. Of two tellings the later one counts, and none that is older than the tenant's load: a process
 * that was stopped between a grant and its telling tells nothing new when it wakes up, whatever was taken back meanwhile (F22).
 */
import { fencedPart, loweredGrant, type Grant, type LeaseGrant } from '../domain/lease.js';
import type { LowerLease } from '../application/quota-store.js';

type Kept = Grant & Pick<LeaseGrant, 'endsAtMs'>;

const SMALLEST_LOOK = 256;
/** A clock that is set back a little must find the period it left. */
const GRACE_MS = 3_600_000;

export class LeaseTable {
  /** Made with the first grant: most tenants share nothing. */
  private grants: Map<string, Kept> | null = null;
  private from = 0n;
  private lookAt = SMALLEST_LOOK;

  /** @param loaded as the snapshot has it: tellings up to its number are older */
  constructor(loaded: { readonly grants: readonly LeaseGrant[]; readonly from: bigint } | undefined) {
    if (loaded === undefined) return;
    this.from = loaded.from;
    if (loaded.grants.length > 0) this.grants = new Map(loaded.grants.map(({ lease, ...kept }) => [lease, kept]));
  }

  get(lease: string): Grant | undefined {
    return this.grants?.get(lease);
  }

  hear({ lease, granted, version, endsAtMs }: Omit<LeaseGrant, 'fenced'>, nowMs: number): void {
    const known = this.grants?.get(lease);
    if (version <= (known?.version ?? this.from)) return;
    this.grants ??= new Map();
    if (known === undefined && this.grants.size >= this.lookAt) this.dropPast(this.grants, nowMs);
    this.grants.set(lease, { granted, version, endsAtMs, fenced: known?.fenced ?? 0n });
  }

  /** What is granted afterwards; null where a later grant than the one to be lowered is known. */
  lower({ grant, atMost, onlyAt, nextVersion, nowMs }: LowerLease, committed: bigint, fencedUntilMs: number): bigint | null {
    this.hear(grant, nowMs);
    const known = this.grants?.get(grant.lease);
    if (known?.version !== grant.version) return null;
    if (onlyAt !== null && onlyAt !== committed) return known.granted;
    const granted = loweredGrant(known, committed, fencedPart(known, nowMs, fencedUntilMs), atMost);
    if (granted < known.granted) this.grants?.set(grant.lease, { ...known, granted, version: nextVersion });
    return granted;
  }

  private dropPast(grants: Map<string, Kept>, nowMs: number): void {
    for (const [lease, { endsAtMs }] of grants) if (endsAtMs !== null && endsAtMs + GRACE_MS <= nowMs) grants.delete(lease);
    this.lookAt = Math.max(SMALLEST_LOOK, 2 * grants.size);
  }
}
