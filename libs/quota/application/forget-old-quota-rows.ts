import { DAY_MS, type Clock } from '#libs/kernel/index.js';

const DECISIONS_KEPT_MS = 35 * DAY_MS;

export interface Forgetting {
  readonly decisions: (before: Date) => Promise<number>;
  readonly holds: (now: Date) => Promise<void>;
  readonly counters: (now: Date) => Promise<void>;
}

/** Removes what nobody asks for any more: decisions after 35 days, holds that ended 35 days ago, captures of holds that are over, counters of what is past. */
export class ForgetOldQuotaRows {
  constructor(
    private readonly forget: Forgetting,
    private readonly clock: Clock,
  ) {}

  async execute(): Promise<void> {
    const now = this.clock.now();
    await this.forget.decisions(new Date(now.getTime() - DECISIONS_KEPT_MS));
    await this.forget.holds(now);
    await this.forget.counters(now);
  }
}
