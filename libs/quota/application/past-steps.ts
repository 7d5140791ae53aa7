/**
 * A tenant's past as one sequence of steps in time: questions when they were asked, releases when they were made, bookings when they were
 * booked. A call that nobody asked for is one step at the time it occurred. Only what lies between the two readers is kept: about as much as was asked
 * and reported in a few minutes, plus what was booked late.
 * At the same millisecond what gives back comes before what asks, as long as it is not the same call's.
 */
import { HOUR_MS, MINUTE_MS, timeOfUuid } from '#libs/kernel/index.js';
import type { PastSpend } from '#libs/metering/index.js';
import type { Hold } from '../domain/hold.js';

export type PastStep =
  | { readonly kind: 'ask'; readonly atMs: number; readonly hold: Hold }
  | { readonly kind: 'release'; readonly atMs: number; readonly hold: Hold }
  /** `holdId`: the question that it answers. */
  | { readonly kind: 'book'; readonly atMs: number; readonly event: PastSpend; readonly holdId: string }
  /** Reported, and no question is known for it. */
  | { readonly kind: 'report'; readonly atMs: number; readonly event: PastSpend };

/** One row after the other; null at the end. */
export type NextRow<Row> = () => Promise<Row | null>;

/** An event may be dated so far ahead of its receipt: so much later than the moment that is played the reading has to be. */
const AHEAD_MS = 5 * MINUTE_MS;
/** How much later than its event's time a call may have been asked for, where the clocks of both differ. */
const CLOCKS_DIFFER_MS = HOUR_MS;

/** @param toMs nothing that begins then or later is a step; bookings of what began before are */
export async function* pastSteps(nextHold: NextRow<Hold>, nextEvent: NextRow<PastSpend>, toMs: number): AsyncGenerator<PastStep> {
  const queue = new StepQueue();
  const asked = new AskedCalls();
  let hold = await nextHold();
  let event = await nextEvent();
  const readHold = async (): Promise<void> => {
    if (hold === null) return;
    asked.add(hold);
    queue.addHold(hold);
    hold = await nextHold();
  };
  for (;;) {
    const holdsFrom = hold?.createdAtMs ?? Number.POSITIVE_INFINITY;
    const eventsFrom = event === null ? Number.POSITIVE_INFINITY : event.occurredAt.getTime() - AHEAD_MS;
    const next = queue.first();
    if (next !== null && next.atMs < Math.min(holdsFrom, eventsFrom)) {
      queue.takeFirst();
      yield next;
    } else if (event !== null && eventsFrom <= holdsFrom) {
      const askedBy = Math.min(event.bookedAt.getTime(), event.occurredAt.getTime() + CLOCKS_DIFFER_MS);
      while (hold !== null && hold.createdAtMs <= askedBy) await readHold();
      queue.addEvent(event, asked.holdOf(event), toMs);
      event = await nextEvent();
    } else if (hold !== null) await readHold();
    else if (next === null) return;
  }
}

/** Every question that was read, by hold and by call: an event may name either, and may come days later. */
class AskedCalls {
  private readonly holds = new Set<string>();
  private readonly byCall = new Map<string, string[]>();

  add({ holdId, facts }: Hold): void {
    this.holds.add(holdId);
    const callId = facts?.callId ?? null;
    if (callId === null) return;
    const same = this.byCall.get(callId);
    if (same === undefined) this.byCall.set(callId, [holdId]);
    else same.push(holdId);
  }

  /** The hold that the event names, else the last one of its call that was asked for before it was booked. */
  holdOf({ holdId, callId, bookedAt }: PastSpend): string | null {
    if (holdId !== null) return this.holds.has(holdId) ? holdId : null;
    const ofCall = callId === null ? undefined : this.byCall.get(callId);
    return ofCall?.findLast((id) => timeOfUuid(id) <= bookedAt) ?? null;
  }
}

interface Queued {
  readonly step: PastStep;
  readonly rank: number;
  readonly order: number;
}

/** A binary heap of steps by time; of one moment by rank, then as they were added. */
class StepQueue {
  private readonly heap: Queued[] = [];
  private added = 0;

  first(): PastStep | null {
    return this.heap[0]?.step ?? null;
  }

  addHold(hold: Hold): void {
    this.add({ kind: 'ask', atMs: hold.createdAtMs, hold }, RANK.ask);
    if (hold.state !== 'released' || hold.resolvedAtMs === null) return;
    this.add({ kind: 'release', atMs: hold.resolvedAtMs, hold }, rankAfter(hold.createdAtMs, hold.resolvedAtMs));
  }

  addEvent(event: PastSpend, holdId: string | null, toMs: number): void {
    if (holdId !== null) {
      const atMs = event.bookedAt.getTime();
      this.add({ kind: 'book', atMs, event, holdId }, rankAfter(timeOfUuid(holdId).getTime(), atMs));
      return;
    }
    const atMs = (event.holdId === null ? event.occurredAt : timeOfUuid(event.holdId)).getTime();
    if (atMs < toMs) this.add({ kind: 'report', atMs, event }, RANK.ask);
  }

  takeFirst(): void {
    const last = this.heap.pop();
    if (last === undefined || this.heap.length === 0) return;
    this.heap[0] = last;
    this.sink(0);
  }

  private add(step: PastStep, rank: number): void {
    this.added += 1;
    this.heap.push({ step, rank, order: this.added });
    for (let at = this.heap.length - 1; at > 0;) {
      const parent = (at - 1) >> 1;
      if (!this.isBefore(at, parent)) return;
      this.swap(at, parent);
      at = parent;
    }
  }

  private sink(from: number): void {
    for (let at = from; ;) {
      const [left, right] = [2 * at + 1, 2 * at + 2];
      let first = at;
      if (left < this.heap.length && this.isBefore(left, first)) first = left;
      if (right < this.heap.length && this.isBefore(right, first)) first = right;
      if (first === at) return;
      this.swap(at, first);
      at = first;
    }
  }

  private isBefore(left: number, right: number): boolean {
    const [a, b] = [this.heap[left], this.heap[right]];
    if (a === undefined || b === undefined) return false;
    return a.step.atMs - b.step.atMs < 0 || (a.step.atMs === b.step.atMs && (a.rank - b.rank || a.order - b.order) < 0);
  }

  private swap(left: number, right: number): void {
    const [a, b] = [this.heap[left], this.heap[right]];
    if (a === undefined || b === undefined) return;
    this.heap[left] = b;
    this.heap[right] = a;
  }
}

const RANK = { giveBack: 0, ask: 1, own: 2 } as const;

/** What ends a call follows its question, also within a millisecond. */
function rankAfter(askedAtMs: number, atMs: number): number {
  return askedAtMs >= atMs ? RANK.own : RANK.giveBack;
}
