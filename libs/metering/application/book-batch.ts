/**
 * Writes one decided batch: corrections take the booking of their target back and book anew, everything else is booked once.
 * A correction whose target still waits in the work list waits too: its target is booked first, then taken back.
 * An event that comes back from the list of those without a price is booked only if it still stands: not when it was corrected meanwhile,
 * and when it was charged provisionally that charge is taken back in the same transaction.
 */
import type { Nano } from '#libs/kernel/index.js';
import type { SpendItem, SpendLedger, SpendPosted, SpendReversal, TenantBalance, TenantSpend } from '#libs/ledger/index.js';
import { appendOutbox } from '#libs/platform/outbox/outbox.js';
import type { Sql } from '#libs/platform/postgres/database.js';
import { UNNAMED, type Booking } from '../domain/booking.js';
import { BUILT_IN_SOURCES } from '../domain/source.js';
import type { PostableEvent } from '../domain/stored-event.js';
import type { LastPosting, PendingEvent, PostingRow, PostingStore } from './posting-store.js';
import type { PostingParticipant, SpendMovement } from './ports.js';

export interface Decided {
  readonly event: PendingEvent;
  readonly booking: Booking;
}

interface BatchInput {
  readonly tx: Sql;
  readonly store: PostingStore;
  readonly shard: number;
  /** In burn order: the order of arrival. Taken off the work list. */
  readonly decided: readonly Decided[];
  readonly ledger: SpendLedger;
  readonly participants: readonly PostingParticipant[];
  readonly postedAt: Date;
  readonly batchId: string;
  readonly actor: string;
}

/** Books what can be booked and returns the events whose turn has not come. */
export async function bookBatch(input: BatchInput): Promise<PendingEvent[]> {
  return await new BatchBooking(input).run();
}

interface TakenBack {
  readonly target: PostableEvent;
  readonly last: LastPosting;
  readonly reason: string;
}

class BatchBooking {
  private readonly movements: SpendMovement[] = [];
  private readonly balances = new Map<string, TenantBalance>();
  private readonly closed: string[] = [];
  private readonly setAside: { event: PostableEvent; reason: string }[] = [];
  /** Newest posting of the events that are corrected here, or were booked before. */
  private last = new Map<string, LastPosting>();
  private targetIds = new Set<string>();
  private targets = new Map<string, PostableEvent>();
  /** Booked provisionally before, rated now. */
  private readonly rerated = new Set<string>();

  constructor(private readonly input: BatchInput) {}

  async run(): Promise<PendingEvent[]> {
    const blockers = await this.readTargets();
    let waiting: readonly Decided[] = this.input.decided.filter((item) => !this.isMoot(item));
    for (let round = 0; waiting.length > 0; round += 1) {
      const isReady = ({ event }: Decided): boolean =>
        event.correctsEventId === null || this.last.has(event.correctsEventId) || !blockers.has(event.correctsEventId);
      const ready = waiting.filter(isReady);
      if (ready.length === 0) break;
      waiting = ready.length === waiting.length ? [] : waiting.filter((item) => !isReady(item));
      await this.bookRound(ready, round);
    }
    await this.finish();
    return waiting.map(({ event }) => event);
  }

  /** Reads what the batch corrects and what became of it; returns the targets that have to be booked first. */
  private async readTargets(): Promise<Set<string>> {
    const { tx, store, shard, decided } = this.input;
    const targetIds = decided.flatMap(({ event }) => event.correctsEventId ?? []);
    const known = [...targetIds, ...decided.flatMap(({ event }) => (event.quarantined ? event.eventId : []))];
    this.last = await store.readLastPostings(tx, known);
    if (targetIds.length === 0) return new Set();
    this.targetIds = new Set(targetIds);
    this.targets = await store.readEvents(tx, targetIds);
    const unbooked = targetIds.filter((eventId) => !this.last.has(eventId));
    const blockers = await store.stillPending(tx, shard, unbooked);
    for (const { event } of decided) if (this.targetIds.has(event.eventId) && !this.last.has(event.eventId)) blockers.add(event.eventId);
    return blockers;
  }

  /** Whether an event that was set aside before has nothing to book: what became of it stands, or is corrected by another event of this batch. */
  private isMoot({ event, booking }: Decided): boolean {
    const last = event.quarantined ? this.last.get(event.eventId) : undefined;
    if (last === undefined) return false;
    if (this.targetIds.has(event.eventId) || last.state === 'reversed') return true;
    if (last.state !== 'posted') return false;
    const stays = last.reason === null || booking.kind === 'quarantine' || booking.provisional !== null;
    if (last.reason !== null && booking.kind === 'quarantine' && booking.reason !== last.reason) this.setAside.push({ event, reason: booking.reason });
    return stays;
  }

  private async bookRound(ready: readonly Decided[], round: number): Promise<void> {
    const { tx, ledger, actor, batchId } = this.input;
    await this.takeBack(ready, round);
    const spends = spendsByTenant(ready, `${batchId}:${round}`);
    const posted = new Map((await ledger.post(tx, spends, actor)).map((result) => [result.tenantId, result]));
    for (const { tenantId, balance } of posted.values()) this.balances.set(tenantId, balance);
    const rows = ready.map((item) => this.settle(item, posted.get(item.event.tenantId)));
    await this.input.store.insertPostings(tx, rows);
  }

  /** What is written about one event, and what follows from it. */
  private settle({ event, booking }: Decided, posted: SpendPosted | undefined): PostingRow {
    const revision = (this.last.get(event.eventId)?.revision ?? 0) + 1;
    let row: PostingRow;
    if (booking.kind === 'quarantine') {
      row = this.quarantined(event, booking, revision);
      this.setAside.push({ event, reason: booking.reason });
    } else {
      row = this.posted(event, booking, revision, posted);
      if (booking.provisional !== null) this.setAside.push({ event, reason: booking.provisional });
      else if (event.quarantined) this.closed.push(event.eventId);
      const seq = row.transactionId === null ? null : (posted?.tenantSeq ?? null);
      this.movements.push(movementOf(event, 1, booking, seq, this.rerated.has(event.eventId)));
    }
    if (this.targetIds.has(event.eventId)) this.last.set(event.eventId, row);
    return row;
  }

  /** The bookings that `ready` takes back: of the events it corrects, and its own provisional ones. A target that was never booked is only closed. */
  private toTakeBack(ready: readonly Decided[]): TakenBack[] {
    return ready.flatMap(({ event }) => {
      const own = event.quarantined ? this.last.get(event.eventId) : undefined;
      if (own?.state === 'posted') {
        this.rerated.add(event.eventId);
        return [{ target: event, last: own, reason: 'rerated' }];
      }
      const target = event.correctsEventId === null ? undefined : this.targets.get(event.correctsEventId);
      const last = target && this.last.get(target.eventId);
      if (target && !last) this.closed.push(target.eventId);
      return target && last && last.state !== 'reversed' ? [{ target, last, reason: `corrected_by:${event.eventId}` }] : [];
    });
  }

  private async takeBack(ready: readonly Decided[], round: number): Promise<void> {
    const { tx, ledger, actor, batchId, postedAt } = this.input;
    const corrections = this.toTakeBack(ready);
    if (corrections.length === 0) return;
    const reversals = corrections.flatMap(({ target, last }): SpendReversal[] =>
      last.transactionId === null
        ? []
        : [
            {
              tenantId: target.tenantId,
              eventId: target.eventId,
              transactionId: last.transactionId,
              from: last.interval?.from ?? 0n,
              to: last.interval?.to ?? 0n,
              provider: last.provider,
              costNano: last.costNano,
              occurredAt: target.occurredAt,
              idemKey: `${batchId}:${round}:reverse:${target.eventId}`,
            },
          ],
    );
    const reversed = new Map((await ledger.reverse(tx, reversals, actor)).map((result) => [result.eventId, result]));
    for (const { balance } of reversed.values()) this.balances.set(balance.tenantId, balance);
    const rows = corrections.map(({ target, last, reason }): PostingRow => ({
      eventId: target.eventId,
      revision: last.revision + 1,
      state: 'reversed',
      tenantId: target.tenantId,
      transactionId: reversed.get(target.eventId)?.transactionId ?? null,
      costNano: 0n,
      chargeNano: 0n,
      lines: [],
      priceVersion: null,
      interval: null,
      reason,
      postedAt,
      provider: last.provider,
      model: last.model,
    }));
    await this.input.store.insertPostings(tx, rows);
    corrections.forEach(({ target, last }, index) => {
      const row = rows[index];
      if (row) this.last.set(target.eventId, row);
      const result = reversed.get(target.eventId);
      const moved = result === undefined || result.transactionId === null ? null : result.balance.seq;
      if (last.state === 'posted') this.movements.push(movementOf(target, -1, last, moved, this.rerated.has(target.eventId)));
      if (last.state !== 'posted' || last.reason !== null) this.closed.push(target.eventId);
    });
  }

  private quarantined(event: PendingEvent, booking: Extract<Booking, { kind: 'quarantine' }>, revision: number): PostingRow {
    return {
      eventId: event.eventId,
      revision,
      state: 'quarantined',
      tenantId: event.tenantId,
      transactionId: null,
      costNano: 0n,
      chargeNano: 0n,
      lines: [],
      priceVersion: booking.priceVersion,
      interval: null,
      reason: booking.reason,
      postedAt: this.input.postedAt,
      provider: event.provider ?? UNNAMED,
      model: event.model ?? UNNAMED,
    };
  }

  // Written out: made for every event, and spreads took longer than everything else here.
  private posted(event: PendingEvent, booking: Extract<Booking, { kind: 'post' }>, revision: number, posted: SpendPosted | undefined): PostingRow {
    const moved = booking.costNano !== 0n || booking.chargeNano !== 0n;
    return {
      eventId: event.eventId,
      revision,
      state: 'posted',
      tenantId: event.tenantId,
      transactionId: moved ? (posted?.transactionId ?? null) : null,
      costNano: booking.costNano,
      chargeNano: booking.chargeNano,
      lines: booking.lines,
      priceVersion: booking.priceVersion,
      interval: moved ? (posted?.intervals.get(event.eventId) ?? null) : null,
      reason: booking.provisional,
      postedAt: this.input.postedAt,
      provider: booking.provider,
      model: booking.model,
    };
  }

  private async finish(): Promise<void> {
    const { tx, participants, postedAt } = this.input;
    for (const participant of participants) await participant.onPosted(tx, this.movements, this.balances);
    await tellSetAside(tx, participants, this.setAside);
    await this.input.store.openQuarantine(tx, this.setAside, postedAt);
    await this.input.store.closeQuarantine(tx, this.closed);
    await appendOutbox(
      tx,
      this.setAside.map(({ event, reason }) => ({
        tenantId: event.tenantId,
        tenantSeq: null,
        topic: 'event.quarantined',
        payload: { event_id: event.eventId, reason },
      })),
    );
  }
}

/** Tells who takes part which events could not be booked. */
export async function tellSetAside(
  tx: Sql,
  participants: readonly PostingParticipant[],
  entries: readonly { readonly event: PostableEvent; readonly reason: string }[],
): Promise<void> {
  if (entries.length === 0) return;
  const events = entries.map(({ event, reason }) => ({
    eventId: event.eventId,
    tenantId: event.tenantId,
    provider: event.provider,
    model: event.model,
    reason,
  }));
  for (const participant of participants) await participant.onSetAside(tx, events);
}

function spendsByTenant(ready: readonly Decided[], idemKey: string): TenantSpend[] {
  const byTenant = new Map<string, { tenantId: string; occurredAt: Date; items: SpendItem[]; idemKey: string }>();
  for (const { event, booking } of ready) {
    if (booking.kind !== 'post' || (booking.costNano === 0n && booking.chargeNano === 0n)) continue;
    const { tenantId, occurredAt } = event;
    let spend = byTenant.get(tenantId);
    if (spend === undefined) byTenant.set(tenantId, (spend = { tenantId, occurredAt, items: [], idemKey }));
    if (occurredAt > spend.occurredAt) spend.occurredAt = occurredAt;
    spend.items.push({ eventId: event.eventId, provider: booking.provider, costNano: booking.costNano, chargeNano: booking.chargeNano });
  }
  return [...byTenant.values()];
}

function movementOf(
  event: PostableEvent,
  sign: 1 | -1,
  booked: { provider: string; model: string; costNano: Nano; chargeNano: Nano },
  tenantSeq: bigint | null,
  rerated: boolean,
): SpendMovement {
  return {
    eventId: event.eventId,
    tenantId: event.tenantId,
    sign,
    occurredAt: event.occurredAt,
    status: event.status,
    provider: booked.provider,
    model: booked.model,
    environment: event.environment,
    feature: event.feature,
    userId: event.userId,
    assistantId: event.assistantId,
    threadId: event.threadId,
    apiKeyId: event.apiKeyId,
    requestId: event.requestId,
    tags: event.tags,
    sourceId: event.sourceId,
    requestedModel: event.requestedModel,
    callId: event.callId,
    holdId: event.holdId,
    endsCall: event.endsCall,
    provisional: event.sourceId === BUILT_IN_SOURCES.hold,
    rerated,
    tenantSeq,
    usage: event.usage,
    costNano: booked.costNano,
    chargeNano: booked.chargeNano,
  };
}
