/**
 * Books what waits in one shard: rate, post one balanced ledger transaction per tenant and batch, write the postings, let the other
 * contexts take part, clear the work list, all in ONE PostgreSQL transaction. Whatever dies half-way leaves the work list as it was,
 * and the primary key of metering.posting makes a second booking of an event impossible (E1).
 * A batch that fails for a reason of its content is halved until the one poison event is alone and goes to quarantine (E7).
 */
import { DomainError, newUuid, type Clock, type Nano } from '#libs/kernel/index.js';
import type { SpendLedger } from '#libs/ledger/index.js';
import type { Database, Sql } from '#libs/platform/postgres/database.js';
import type { PriceBook } from '#libs/pricing/index.js';
import { UNKNOWN_TENANT_ID, type TenantDirectory } from '#libs/tenancy/index.js';
import { bookByHold, decideBooking, reportedCost, UNNAMED, waitsForPrice, type Booking } from '../domain/booking.js';
import type { PostableEvent } from '../domain/stored-event.js';
import { bookBatch, tellSetAside, type Decided } from './book-batch.js';
import type { HeldAmounts, PostingParticipant } from './ports.js';
import type { PendingEvent, PostingStore } from './posting-store.js';

// 2,000 events keep a transaction near 100 ms, so that a shard's readers and the next wake-up never wait long.
const BATCH_EVENTS = 2_000;
const ACTOR = 'poster';

interface Batch {
  readonly posted: number;
  /** Nothing waited behind it. What came in since has a wake-up of its own. */
  readonly reachedEnd: boolean;
}

export class PostPendingSpend {
  constructor(
    private readonly database: Database,
    private readonly store: PostingStore,
    private readonly ledger: SpendLedger,
    private readonly priceBook: PriceBook,
    private readonly tenants: TenantDirectory,
    private readonly participants: readonly PostingParticipant[],
    private readonly held: HeldAmounts,
    private readonly clock: Clock,
    private readonly settings: { readonly absurdCostNano: Nano },
  ) {}

  /**
   * Posts the shard's pending events until none is left of those that waited at the call.
   * @param input.shard as given by shardOf(tenantId)
   * @returns how many events were booked or set aside @throws DomainError storage.unavailable
   */
  async execute(input: { shard: number }): Promise<{ posted: number }> {
    let posted = 0;
    for (;;) {
      const batch = await this.postBatch(input.shard, null);
      posted += batch.posted;
      if (batch.posted === 0 || batch.reachedEnd) return { posted };
    }
  }

  private async postBatch(shard: number, only: readonly string[] | null): Promise<Batch> {
    let taken: readonly PendingEvent[] = [];
    try {
      const waiting = await this.database.transaction(async (tx) => {
        await this.store.lockShard(tx, shard);
        taken = await this.store.takePending(tx, shard, BATCH_EVENTS, only);
        const late = taken.length === 0 ? [] : await this.book(tx, shard, taken);
        await this.store.putBack(tx, shard, late);
        return late.length;
      });
      await this.priceBook.learnAliases(aliasesSeen(taken));
      return { posted: taken.length - waiting, reachedEnd: taken.length < BATCH_EVENTS };
    } catch (error) {
      if (error instanceof DomainError && error.kind === 'unavailable') throw error;
      const eventIds = taken.map((event) => event.eventId);
      return { posted: await this.postAround(shard, eventIds, error), reachedEnd: false };
    }
  }

  /** Halves a failed batch; one event alone that fails is the poison. */
  private async postAround(shard: number, eventIds: readonly string[], cause: unknown): Promise<number> {
    if (eventIds.length === 0) throw cause;
    if (eventIds.length === 1) return await this.setAside(shard, eventIds);
    const middle = Math.ceil(eventIds.length / 2);
    const first = await this.postBatch(shard, eventIds.slice(0, middle));
    const second = await this.postBatch(shard, eventIds.slice(middle));
    return first.posted + second.posted;
  }

  private async setAside(shard: number, eventIds: readonly string[]): Promise<number> {
    return await this.database.transaction(async (tx) => {
      await this.store.lockShard(tx, shard);
      const taken = await this.store.takePending(tx, shard, 1, eventIds);
      const entries = taken.map((event) => ({ event, reason: 'posting_failed' }));
      await tellSetAside(tx, this.participants, entries);
      await this.store.openQuarantine(tx, entries, this.clock.now());
      return taken.length;
    });
  }

  private async book(tx: Sql, shard: number, taken: readonly PendingEvent[]): Promise<PendingEvent[]> {
    const tenants = await this.tenants.findManyInside(tx, [...new Set(taken.map((event) => event.tenantId))]);
    const decided = taken.map((event): Decided => ({ event, booking: this.decide(event, tenants.get(event.tenantId)?.rateCardId ?? null) }));
    return await bookBatch({
      tx,
      store: this.store,
      shard,
      decided: await this.chargeHolds(tx, decided),
      ledger: this.ledger,
      participants: this.participants,
      postedAt: this.clock.now(),
      batchId: newUuid(this.clock.now()),
      actor: ACTOR,
    });
  }

  /** Never free: what has no price yet is charged what is held for its call, where something is. */
  private async chargeHolds(tx: Sql, decided: readonly Decided[]): Promise<readonly Decided[]> {
    const unpriced = decided.filter(({ event, booking }) => waitsForPrice(booking) && (event.holdId !== null || event.callId !== null));
    if (unpriced.length === 0) return decided;
    const left = await this.held.leftFor(
      tx,
      unpriced.map(({ event }) => event),
    );
    return decided.map((item): Decided => {
      const heldNano = waitsForPrice(item.booking) ? left.get(item.event.eventId) : undefined;
      if (heldNano === undefined || !waitsForPrice(item.booking)) return item;
      return { ...item, booking: bookByHold(item.event, item.booking, heldNano, this.settings.absurdCostNano) };
    });
  }

  private decide(event: PostableEvent, rateCardId: string | null): Booking {
    return decideBooking(
      event,
      () =>
        this.priceBook.rate({
          provider: event.provider,
          model: event.model,
          requestedModel: event.requestedModel,
          sourceId: event.sourceId,
          usage: event.usage ?? {},
          at: event.occurredAt,
          rateCardId,
          free: event.tenantId === UNKNOWN_TENANT_ID,
          reportedCostNano: reportedCost(event),
        }),
      this.settings.absurdCostNano,
    );
  }
}

/** Names of the alias pairs that booked events taught us: what was asked for, and what ran. */
function aliasesSeen(events: readonly PostableEvent[]): { sourceId: string; alias: string; provider: string; model: string }[] {
  return events.flatMap((event) => {
    if (event.requestedModel === null || event.model === null || event.provider === null || event.provider === UNNAMED) return [];
    return event.requestedModel === event.model
      ? []
      : [{ sourceId: event.sourceId, alias: event.requestedModel, provider: event.provider, model: event.model }];
  });
}
