/**
 * Writes one decided batch: corrections take the booking of their target back and book anew, everything else is booked once.
 * A correction whose target still waits in the work list waits too: its target is booked first, then taken back.
 */
import type { Nano } from '#libs/kernel/index.js';
import type { SpendLedger, SpendPosted, SpendReversal, TenantSpend } from '#libs/ledger/index.js';
import { appendOutbox } from '#libs/platform/outbox/outbox.js';
import type { Sql } from '#libs/platform/postgres/database.js';
import { UNNAMED, type Booking } from '../domain/booking.js';
import { BUILT_IN_SOURCES } from '../domain/source.js';
import type { StoredEvent } from '../domain/stored-event.js';
import type { LastPosting, PendingEvent, PostingRow, PostingStore } from './posting-store.js';
import type { PostingParticipant, SpendMovement } from './ports.js';

export interface Decided extends PendingEvent {
  readonly booking: Booking;
}

interface BatchInput {
  readonly tx: Sql;
  readonly store: PostingStore;
  readonly shard: number;
  /** In burn order: the order of arrival. */
  readonly decided: readonly Decided[];
  readonly ledger: SpendLedger;
  readonly participants: readonly PostingParticipant[];
  readonly postedAt: Date;
  readonly batchId: string;
  readonly actor: string;
}

/** Books what can be booked and returns the ids of the settled events; the others stay in the work list. */
export async function bookBatch(input: BatchInput): Promise<string[]> {
  return await new BatchBooking(input).run();
}

class BatchBooking {
  private readonly movements: SpendMovement[] = [];
  private readonly settled: string[] = [];
  private readonly closed: string[] = [];
  private readonly setAside: { event: StoredEvent; reason: string }[] = [];
  /** Newest posting of events that were booked before or earlier in this batch. */
  private last = new Map<string, LastPosting>();
  private targets = new Map<string, StoredEvent>();

  constructor(private readonly input: BatchInput) {}

  async run(): Promise<string[]> {
    const { tx, decided } = this.input;
    const targetIds = decided.flatMap(({ event }) => (event.correctsEventId === null ? [] : [event.correctsEventId]));
    const known = [...targetIds, ...decided.filter(({ quarantined }) => quarantined).map(({ event }) => event.eventId)];
    this.last = await this.input.store.readLastPostings(tx, known);
    this.targets = await this.input.store.readEvents(tx, targetIds);
    const blockers = await this.input.store.stillPending(
      tx,
      this.input.shard,
      targetIds.filter((eventId) => !this.last.has(eventId)),
    );

    let waiting = decided;
    for (let round = 0; waiting.length > 0; round += 1) {
      const isReady = ({ event }: Decided): boolean =>
        event.correctsEventId === null || this.last.has(event.correctsEventId) || !blockers.has(event.correctsEventId);
      const ready = waiting.filter(isReady);
      if (ready.length === 0) break;
      waiting = waiting.filter((item) => !isReady(item));
      await this.bookRound(ready, round);
    }
    await this.finish();
    return this.settled;
  }

  private async bookRound(ready: readonly Decided[], round: number): Promise<void> {
    const { tx, ledger, actor, batchId } = this.input;
    await this.takeBack(ready, round);
    const spends = spendsByTenant(ready, `${batchId}:${round}`);
    const posted = new Map((await ledger.post(tx, spends, actor)).map((result) => [result.tenantId, result]));
    const rows = ready.map((item) => this.toPosting(item, posted.get(item.event.tenantId)));
    await this.input.store.insertPostings(tx, rows);
    ready.forEach(({ event, quarantined, booking }, index) => {
      this.settled.push(event.eventId);
      const row = rows[index];
      if (row) this.last.set(event.eventId, row);
      if (booking.kind === 'quarantine') {
        this.setAside.push({ event, reason: booking.reason });
        return;
      }
      if (quarantined) this.closed.push(event.eventId);
      const moved = row?.transactionId === null ? null : (posted.get(event.tenantId)?.tenantSeq ?? null);
      this.movements.push(movementOf(event, 1, booking, moved));
    });
  }

  /** Reverses the bookings that `ready` corrects; a target that was never booked is only closed. */
  private async takeBack(ready: readonly Decided[], round: number): Promise<void> {
    const { tx, ledger, actor, batchId, postedAt } = this.input;
    const corrections = ready.flatMap(({ event }) => {
      const target = event.correctsEventId === null ? undefined : this.targets.get(event.correctsEventId);
      const last = target && this.last.get(target.eventId);
      if (target && !last) this.closed.push(target.eventId);
      return target && last && last.state !== 'reversed' ? [{ target, last, correctedBy: event.eventId }] : [];
    });
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
    const rows = corrections.map(({ target, last, correctedBy }): PostingRow => ({
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
      reason: `corrected_by:${correctedBy}`,
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
      if (last.state === 'posted') this.movements.push(movementOf(target, -1, last, moved));
      else this.closed.push(target.eventId);
    });
  }

  private toPosting({ event, booking }: Decided, posted: SpendPosted | undefined): PostingRow {
    const base = {
      eventId: event.eventId,
      revision: (this.last.get(event.eventId)?.revision ?? 0) + 1,
      tenantId: event.tenantId,
      postedAt: this.input.postedAt,
      priceVersion: booking.priceVersion,
    };
    if (booking.kind === 'quarantine') {
      const nothing = { transactionId: null, costNano: 0n, chargeNano: 0n, lines: [], interval: null };
      return { ...base, ...nothing, state: 'quarantined', reason: booking.reason, provider: event.provider ?? UNNAMED, model: event.model ?? UNNAMED };
    }
    const moved = booking.costNano !== 0n || booking.chargeNano !== 0n;
    return {
      ...base,
      state: 'posted',
      transactionId: moved ? (posted?.transactionId ?? null) : null,
      costNano: booking.costNano,
      chargeNano: booking.chargeNano,
      lines: booking.lines,
      interval: moved ? (posted?.intervals.get(event.eventId) ?? null) : null,
      reason: null,
      provider: booking.provider,
      model: booking.model,
    };
  }

  private async finish(): Promise<void> {
    const { tx, participants, postedAt } = this.input;
    for (const participant of participants) await participant.onPosted(tx, this.movements);
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

function spendsByTenant(ready: readonly Decided[], idemKey: string): TenantSpend[] {
  const byTenant = new Map<string, { occurredAt: Date; items: TenantSpend['items'][number][] }>();
  for (const { event, booking } of ready) {
    if (booking.kind !== 'post' || (booking.costNano === 0n && booking.chargeNano === 0n)) continue;
    const spend = byTenant.get(event.tenantId) ?? { occurredAt: event.occurredAt, items: [] };
    if (event.occurredAt > spend.occurredAt) spend.occurredAt = event.occurredAt;
    spend.items.push({ eventId: event.eventId, provider: booking.provider, costNano: booking.costNano, chargeNano: booking.chargeNano });
    byTenant.set(event.tenantId, spend);
  }
  return [...byTenant].map(([tenantId, spend]) => ({ tenantId, ...spend, idemKey }));
}

function movementOf(
  event: StoredEvent,
  sign: 1 | -1,
  booked: { provider: string; model: string; costNano: Nano; chargeNano: Nano },
  tenantSeq: bigint | null,
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
    requestedModel: event.requestedModel,
    callId: event.callId,
    holdId: event.holdId,
    endsCall: event.endsCall,
    provisional: event.sourceId === BUILT_IN_SOURCES.hold,
    tenantSeq,
    usage: event.usage,
    costNano: booked.costNano,
    chargeNano: booked.chargeNano,
  };
}
