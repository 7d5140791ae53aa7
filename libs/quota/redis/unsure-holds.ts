/**
 * Holds that the store may have made and nobody was promised, because the answer came too late or never. Each is taken back as soon as its
 * server answers. A server that hung may read what was sent to it long ago after it has answered again, so a hold that is not there yet is
 * looked for a while longer: left alone, it would be charged when its time runs out.
 */
export interface UnsureHold {
  readonly tenantId: string;
  readonly holdId: string;
  readonly nowMs: number;
}

const MAX_UNSURE = 10_000;
const RETRY_MS = 250;
/** Looks at a hold that is not there, a quarter of a second apart: ten seconds. */
const LOOKS = 40;
/** Tries at a server that does not answer: an hour, by when a hold has run out. */
const TRIES = 14_400;

export class UnsureHolds {
  private waiting: (UnsureHold & { looks: number; tries: number })[] = [];
  private timer: NodeJS.Timeout | null = null;

  /** @param takeBack whether the hold was there; rejects while its server does not answer */
  constructor(private readonly takeBack: (hold: UnsureHold) => Promise<boolean>) {}

  add(hold: UnsureHold): void {
    if (this.waiting.length >= MAX_UNSURE) return;
    this.waiting.push({ ...hold, looks: 0, tries: 0 });
    this.schedule();
  }

  private schedule(): void {
    if (this.timer !== null || this.waiting.length === 0) return;
    this.timer = setTimeout(() => void this.round(), RETRY_MS).unref();
  }

  private async round(): Promise<void> {
    const now = this.waiting;
    this.waiting = [];
    for (const hold of now) {
      try {
        const found = await this.takeBack(hold);
        hold.looks += 1;
        if (!found && hold.looks < LOOKS) this.waiting.push(hold);
      } catch {
        hold.tries += 1;
        if (hold.tries < TRIES) this.waiting.push(hold);
      }
    }
    this.timer = null;
    this.schedule();
  }
}
