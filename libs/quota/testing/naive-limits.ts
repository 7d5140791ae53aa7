/** Limits as one would explain them on paper: a list of calls, a list of bookings, and sums over both. Shares no code with the product. */
export interface PaperCall {
  readonly id: string;
  readonly user: string;
  readonly askedAt: number;
  usd: bigint;
  tokens: bigint;
  takenUsd: bigint;
  takenTokens: bigint;
  takenRequests: bigint;
  expires: number;
  open: boolean;
}

export interface PaperBooking {
  readonly user: string;
  /** When its call was asked for. */
  readonly at: number;
  readonly usd: bigint;
  readonly tokens: bigint;
  readonly requests: bigint;
}

export interface PaperLimit {
  readonly name: string;
  readonly counts: 'usd' | 'tokens' | 'requests' | 'concurrent';
  readonly perUser: boolean;
  readonly limit: bigint;
  readonly downgradeAt: bigint | null;
  readonly enforced: boolean;
  /** Fixed: length of a period from midnight on. Rolling: sixty parts of `part`. */
  readonly over: { readonly fixed: number } | { readonly part: number } | { readonly running: number };
}

export interface PaperAsk {
  readonly user: string;
  readonly usd: bigint;
  readonly tokens: bigint;
}

export class NaiveLimits {
  balance = 0n;
  calls: PaperCall[] = [];
  bookings: PaperBooking[] = [];
  fencedUntil = 0;

  constructor(readonly limits: readonly PaperLimit[]) {}

  /** Whether something asked at `at` counts for `limit` at `now`. */
  counts({ over }: PaperLimit, at: number, now: number): boolean {
    if ('fixed' in over) return Math.floor(at / over.fixed) === Math.floor(now / over.fixed);
    if ('running' in over) return now < at + over.running;
    // The part it was asked in counts whole until all of it is older than sixty parts.
    const partEnds = (Math.floor(at / over.part) + 1) * over.part;
    return partEnds + 60 * over.part > now;
  }

  used(limit: PaperLimit, user: string, now: number): bigint {
    if (limit.counts === 'concurrent') return 0n;
    const metric = limit.counts;
    return this.bookings.filter((one) => (!limit.perUser || one.user === user) && this.counts(limit, one.at, now)).reduce((sum, one) => sum + one[metric], 0n);
  }

  held(limit: PaperLimit, user: string, now: number): bigint {
    return this.calls
      .filter((call) => call.open && (!limit.perUser || call.user === user) && this.counts(limit, call.askedAt, now))
      .reduce((sum, call) => sum + this.kept(call, limit.counts), 0n);
  }

  private kept(call: PaperCall, metric: PaperLimit['counts']): bigint {
    const rest = { usd: call.usd - call.takenUsd, tokens: call.tokens - call.takenTokens, requests: 1n - call.takenRequests, concurrent: 1n }[metric];
    return rest > 0n ? rest : 0n;
  }

  /** What events took beyond what their calls had asked for: booked whatever is left, and the only way past a limit. */
  beyond(limit: PaperLimit, user: string, now: number): bigint {
    return this.calls
      .filter((call) => (!limit.perUser || call.user === user) && this.counts(limit, call.askedAt, now))
      .map(
        (call) => ({ usd: call.takenUsd - call.usd, tokens: call.takenTokens - call.tokens, requests: call.takenRequests - 1n, concurrent: 0n })[limit.counts],
      )
      .reduce((sum, excess) => (excess > 0n ? sum + excess : sum), 0n);
  }

  walletHeld(): bigint {
    return this.calls.filter((call) => call.open).reduce((sum, call) => sum + this.kept(call, 'usd'), 0n);
  }

  takes(limit: PaperLimit, ask: PaperAsk): bigint {
    return limit.counts === 'usd' ? ask.usd : limit.counts === 'tokens' ? ask.tokens : 1n;
  }

  /** Names of what refuses the call at `now`. */
  refusing(ask: PaperAsk, now: number, everything: boolean): string[] {
    const names = this.limits
      .filter((limit) => everything || limit.enforced)
      .filter((limit) => {
        const top = now < this.fencedUntil ? limit.limit - limit.limit / 8n : limit.limit;
        const takes = this.takes(limit, ask);
        return takes > 0n && this.used(limit, ask.user, now) + this.held(limit, ask.user, now) + takes > top;
      })
      .map((limit) => limit.name);
    return ask.usd > 0n && ask.usd > this.balance - this.walletHeld() ? [...names, 'wallet'] : names;
  }

  /** Position of the model that is taken, or null. */
  choose(asks: readonly PaperAsk[], now: number, everything: boolean): number | null {
    const refused = asks.map((ask) => this.refusing(ask, now, everything).length > 0);
    const first = asks[0];
    const passed = this.limits.some((limit) => {
      if (!first || limit.downgradeAt === null || (!everything && !limit.enforced)) return false;
      const takes = this.takes(limit, first);
      return takes > 0n && this.used(limit, first.user, now) + this.held(limit, first.user, now) + takes > limit.downgradeAt;
    });
    if (!refused[0] && !passed) return 0;
    const step = refused.findIndex((no, index) => index > 0 && !no);
    if (step > 0) return step;
    return refused[0] ? null : 0;
  }
}
