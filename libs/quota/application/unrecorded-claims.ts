/**
 * How much of each counter was promised by holds that have no row yet. While it stays below an eighth of the limit a hold is promised at
 * once and written behind; beyond that it is committed first. After a crash an eighth of every limit therefore covers whatever was lost.
 * A limit so small that an eighth of it holds no call has every call committed first.
 */
import { UNRECORDED_PART } from '../domain/judge.js';
import type { Hold } from '../domain/hold.js';
import type { HeldClaim } from '../domain/limit.js';
import type { LimitView } from './quota-store.js';

export class UnrecordedClaims {
  private readonly sums = new Map<string, bigint>();
  private readonly claimsOf = new Map<string, readonly HeldClaim[]>();

  private readonly part: bigint;

  /** @param processes share the eighth */
  constructor(processes: bigint) {
    this.part = UNRECORDED_PART * processes;
  }

  /** Whether the hold behind `limits` has to be committed before it is promised. */
  isTooMuch(limits: readonly LimitView[]): boolean {
    return limits.some(({ claim }) => {
      // Of a shared limit all that a tenant has left is fenced after a loss.
      if (claim.lease !== undefined) return false;
      if (claim.blockAt === null || !claim.enforced || claim.silent || claim.amount === 0n) return false;
      return (this.sums.get(claim.counter) ?? 0n) + claim.amount > claim.blockAt / this.part;
    });
  }

  add(hold: Hold): void {
    if (hold.claims.length === 0) return;
    this.claimsOf.set(hold.holdId, hold.claims);
    for (const { counter, amount } of hold.claims) this.sums.set(counter, (this.sums.get(counter) ?? 0n) + amount);
  }

  /** They have rows, or are over. */
  recorded(holds: readonly Hold[]): void {
    for (const { holdId } of holds) {
      const claims = this.claimsOf.get(holdId);
      if (!claims) continue;
      this.claimsOf.delete(holdId);
      for (const { counter, amount } of claims) {
        const sum = (this.sums.get(counter) ?? 0n) - amount;
        if (sum > 0n) this.sums.set(counter, sum);
        else this.sums.delete(counter);
      }
    }
  }
}
