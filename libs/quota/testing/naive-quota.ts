/** The wallet as one would explain it on paper: lists, sums over lists, no caches, no ceilings. Shares no code with the product. */
export interface NaiveHold {
  readonly id: string;
  readonly call: string | null;
  readonly body: string;
  amount: bigint;
  taken: bigint;
  state: 'active' | 'settled' | 'released' | 'unresolved';
  readonly policy: 'charge_hold' | 'charge_input' | 'release';
  charged: boolean;
  expires: number;
  endedAt: number | null;
  readonly strict: boolean;
  readonly fence: boolean;
}

export type Told = 'held' | 'replayed' | 'other_body' | 'already_resolved' | 'insufficient_funds' | 'too_large' | 'in_flight_exhausted';

const REMEMBERED_MS = 15 * 60_000;

export class NaiveQuota {
  /** As the store was told. */
  posted = 0n;
  holds: NaiveHold[] = [];
  /** Outbox messages the store has heard. */
  heard = 0;

  constructor(readonly limit: bigint) {}

  isOpen(hold: NaiveHold): boolean {
    return hold.state === 'active' || (hold.state === 'unresolved' && hold.policy !== 'release' && !hold.charged);
  }

  kept(hold: NaiveHold): bigint {
    return this.isOpen(hold) && hold.amount > hold.taken ? hold.amount - hold.taken : 0n;
  }

  held(): bigint {
    return this.holds.reduce((sum, hold) => sum + this.kept(hold), 0n);
  }

  tell(amount: bigint, call: string | null, body: string, now: number): { told: Told; hold?: NaiveHold } {
    const same = call === null ? [] : this.holds.filter((hold) => hold.call === call);
    const open = same.find((hold) => this.isOpen(hold));
    if (open) return open.body !== body ? { told: 'other_body' } : open.state === 'active' ? { told: 'replayed', hold: open } : { told: 'already_resolved' };
    if (same.some((hold) => hold.endedAt !== null && now - hold.endedAt <= REMEMBERED_MS)) return { told: 'already_resolved' };
    const whole = this.posted + this.limit;
    if (amount === 0n) return { told: 'held' };
    if (whole <= 0n) return { told: 'insufficient_funds' };
    if (amount > whole) return { told: 'too_large' };
    return { told: amount > whole - this.held() ? 'in_flight_exhausted' : 'held' };
  }

  end(hold: NaiveHold, state: 'settled' | 'released' | 'unresolved', now: number): void {
    hold.state = state;
    // A repeat is told so for fifteen minutes from when the call stopped running, also where its charge or a late report came after that.
    hold.endedAt ??= now;
  }

  capture(id: string, amount: bigint, closes: boolean, provisional: boolean, now: number): void {
    const hold = this.holds.find((candidate) => candidate.id === id);
    if (!hold || !this.isOpen(hold)) return;
    hold.taken += amount;
    if (provisional) hold.charged = true;
    else if (closes) this.end(hold, 'settled', now);
  }
}
