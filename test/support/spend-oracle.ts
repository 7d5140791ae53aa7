/**
 * One tenant's calls as one would explain them on paper: each call has one report that stands, the best so far, and each failed attempt or
 * partial settle costs on its own. Balances and months are sums over all of it, made anew each time. The wallet beside it is NaiveQuota.
 * Shares no code with the product.
 */
import { NaiveQuota, type NaiveHold } from '#libs/quota/testing/naive-quota.js';

/** What a call of a thousand input tokens costs before it answers anything. */
const INPUT_NANO = 2_500_000n;
const OUTPUT_TOKEN_NANO = 10_000n;

export const costOf = (outputTokens: number): bigint => INPUT_NANO + BigInt(outputTokens) * OUTPUT_TOKEN_NANO;

const RANK = { exact: 7, drained: 6, partial: 4, estimated: 2, hold: 1, unknown: 0 };
export type Quality = keyof typeof RANK;

interface Standing {
  rank: number;
  figures: string;
  /** Null: nobody said what it used, so nothing is booked. */
  charge: bigint | null;
}

export interface NaiveCall {
  readonly hold: NaiveHold;
  /** "2026-11": when the call was asked for. */
  readonly month: string;
  readonly askedAt: Date;
  standing: Standing | null;
  /** Failed attempts and partial settles. */
  readonly extras: bigint[];
  /** Its hold ended before a restart of a process that keeps no row of short holds. */
  forgotten: boolean;
}

export class SpendOracle {
  readonly quota: NaiveQuota;
  readonly calls: NaiveCall[] = [];
  private credit = 0n;

  constructor(readonly policy: NaiveHold['policy']) {
    this.quota = new NaiveQuota(0n);
  }

  grant(amount: bigint): void {
    this.credit += amount;
    this.settleUp();
  }

  /** A report of how a call ended. */
  report(call: NaiveCall, quality: Quality, figures: string, charge: bigint | null, now: number): void {
    const before = call.standing;
    if (before?.figures === figures) before.rank = Math.max(before.rank, RANK[quality]);
    if (before && (before.figures === figures || RANK[quality] <= before.rank)) return;
    call.standing = { rank: RANK[quality], figures, charge };
    if (charge !== null) this.closeHold(call, charge, now);
    this.settleUp();
  }

  /** A cost that says nothing of how the call ended. */
  extra(call: NaiveCall, charge: bigint, now: number): void {
    call.extras.push(charge);
    this.quota.capture(call.hold.id, charge, false, false, now);
    this.settleUp();
  }

  /** Every hold whose time is over ends, and its policy charges it unless somebody knows better. */
  sweep(now: number): void {
    for (const call of this.calls) {
      const { hold } = call;
      if (hold.state !== 'active' || hold.expires >= now) continue;
      this.quota.end(hold, 'unresolved', now);
      if (this.policy === 'release') continue;
      const left = hold.amount > hold.taken ? hold.amount - hold.taken : 0n;
      const charge = this.policy === 'charge_hold' ? left : hold.taken === 0n ? INPUT_NANO : 0n;
      if ((call.standing?.rank ?? -1) < RANK.hold) call.standing = { rank: RANK.hold, figures: `policy ${charge}`, charge };
      hold.taken += charge;
      hold.charged = true;
    }
    this.settleUp();
  }

  unresolved(): bigint {
    return this.calls.reduce((sum, { hold }) => (hold.state === 'unresolved' ? sum + hold.amount : sum), 0n);
  }

  /** What stands, by the month in which its call was asked for. */
  months(): Map<string, { charge: bigint; requests: number }> {
    const months = new Map<string, { charge: bigint; requests: number }>();
    for (const call of this.calls) {
      const booked = chargesOf(call);
      if (booked.length === 0) continue;
      const month = months.get(call.month) ?? { charge: 0n, requests: 0 };
      for (const charge of booked) month.charge += charge;
      month.requests += booked.length;
      months.set(call.month, month);
    }
    return months;
  }

  /** What calls cost beyond what was held for them, or after their hold had given its money back. */
  beyondHolds(): bigint {
    return this.calls.reduce((sum, call) => {
      const charged = chargesOf(call).reduce((total, charge) => total + charge, 0n);
      const covered = call.hold.state === 'released' || (call.hold.state === 'unresolved' && this.policy === 'release') ? 0n : call.hold.amount;
      return charged > covered ? sum + charged - covered : sum;
    }, 0n);
  }

  private closeHold(call: NaiveCall, charge: bigint, now: number): void {
    const { hold } = call;
    this.quota.capture(hold.id, charge, true, false, now);
    if (hold.state === 'unresolved') hold.state = 'settled';
  }

  private settleUp(): void {
    this.quota.posted = this.credit;
    for (const call of this.calls) for (const charge of chargesOf(call)) this.quota.posted -= charge;
  }
}

function chargesOf({ standing, extras }: NaiveCall): bigint[] {
  return standing === null || standing.charge === null ? extras : [...extras, standing.charge];
}
