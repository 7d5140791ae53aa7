/**
 * The quota of one tenant with a PostgreSQL that fits in a page: rows, captures, balance and outbox as the product writes them, a crash that
 * loses everything else, and a relay that may deliver twice. What is promised is decided by the real store, service, journal and sweep.
 */
import { DomainError } from '#libs/kernel/index.js';
import { FixedClock } from '#libs/kernel/testing/fixed-clock.js';
import type { ChargeOutcome, HoldEvents } from '../application/hold-events.js';
import type { CeilingRaise } from '../application/ceiling-raises.js';
import { HoldJournal } from '../application/hold-journal.js';
import { QuotaFence } from '../application/ports.js';
import { QuotaService } from '../application/quota-service.js';
import type { Capture, ReserveCommand } from '../application/quota-store.js';
import { SweepHolds } from '../application/sweep-holds.js';
import { captureHold, isUncharged, type CallFacts, type Hold } from '../domain/hold.js';
import { MemoryQuotaStore } from '../memory/memory-quota-store.js';
import { NoPools } from './no-pools.js';

export const TENANT = 'acme';
export const TTL_MS = 15 * 60_000;
const START = '2026-11-22T12:00:00.000Z';

export const FACTS: CallFacts = {
  callId: null,
  provider: 'openai',
  model: 'gpt-4o',
  requestedModel: 'gpt-4o',
  inputTokens: 1,
  maxOutputTokens: 1,
  userId: null,
  feature: null,
  environment: 'prod',
  assistantId: null,
  threadId: null,
  apiKeyId: null,
  requestId: null,
  priceVersion: null,
  tags: null,
  sourceId: null,
  terms: [],
};

type Message = { readonly seq: bigint; readonly posted: bigint; readonly captures: readonly Capture[] };

class WorldFence extends QuotaFence {
  override readonly exclusive = true;
  epoch: bigint | null = 1n;
  private readonly listeners: (() => void)[] = [];
  override current(): bigint | null {
    return this.epoch;
  }
  override onLost(listener: () => void): void {
    this.listeners.push(listener);
  }
  lose(): void {
    this.epoch = null;
    for (const listener of this.listeners) listener();
  }
}

/** What survives a crash. */
export class Disk {
  readonly rows = new Map<string, Hold>();
  readonly captures: (Capture & { readonly seq: bigint })[] = [];
  readonly outbox: Message[] = [];
  posted = 0n;
  seq = 0n;
  ceiling = 0n;
  recorded = 0n;
  reserveEpoch = 1n;
  epoch = 1n;

  book(signedNano: bigint, captures: readonly Capture[]): void {
    this.seq += 1n;
    this.posted += signedNano;
    for (const capture of captures) this.captures.push({ ...capture, seq: this.seq });
    this.outbox.push({ seq: this.seq, posted: this.posted, captures });
    for (const capture of captures) this.settleUnresolved(capture);
  }

  write(ended: readonly Hold[], live: readonly Hold[]): void {
    for (const hold of ended) {
      const row = this.rows.get(hold.holdId);
      if (row && (row.state === 'active' || row.state === 'unresolved')) {
        const resolution = hold.state === 'unresolved' && row.resolution === 'charged' ? 'charged' : hold.resolution;
        this.rows.set(hold.holdId, { ...row, state: hold.state, resolution, capturedNano: hold.capturedNano, resolvedAtMs: hold.resolvedAtMs });
      }
    }
    for (const hold of live) {
      const row = this.rows.get(hold.holdId);
      if (!row) this.rows.set(hold.holdId, hold);
      else if (row.state === 'active')
        this.rows.set(hold.holdId, { ...row, amountNano: hold.amountNano, capturedNano: hold.capturedNano, expiresAtMs: hold.expiresAtMs });
    }
  }

  capturesOf(hold: Hold): (Capture & { readonly seq: bigint })[] {
    return this.captures.filter((capture) => capture.holdId === hold.holdId);
  }

  settleMissed(sinceMs: number): number {
    const missed = [...this.rows.values()].filter(
      (row) => row.state === 'unresolved' && (row.resolvedAtMs ?? 0) > sinceMs && this.capturesOf(row).some((capture) => capture.closes),
    );
    for (const row of missed) this.rows.set(row.holdId, { ...row, state: 'settled', resolution: 'late_event' });
    return missed.length;
  }

  private settleUnresolved(capture: Capture): void {
    const row = capture.holdId === null ? undefined : this.rows.get(capture.holdId);
    if (row?.state !== 'unresolved') return;
    if (capture.closes) this.rows.set(row.holdId, { ...row, state: 'settled', resolution: 'late_event' });
    else if (capture.provisional) this.rows.set(row.holdId, { ...row, resolution: 'charged' });
  }
}

export class World {
  readonly clock = new FixedClock(START);
  readonly disk = new Disk();
  /** Expired holds that the sweep asked to have charged, by id; a second ask is the same event. */
  readonly charged = new Set<string>();
  fence = new WorldFence();
  store = new MemoryQuotaStore();
  journal!: HoldJournal;
  service!: QuotaService;
  sweep!: SweepHolds;
  private fences = 0;
  /** Calls that another report was heard of, by digest: the inbox takes no second one. */
  readonly reportedCalls = new Set<string>();
  /** Whether the inbox takes nothing at the moment. */
  inboxAway = false;

  /** Writes of holds wait for it. */
  writeGate: Promise<void> = Promise.resolve();
  /** Snapshots wait for it. */
  loadGate: Promise<void> = Promise.resolve();

  constructor(private readonly storeDeadlineMs = 60_000) {
    this.boot();
  }

  get nowMs(): number {
    return this.clock.now().getTime();
  }

  /** Everything that is not on disk is gone; the next process takes over. */
  crash(): void {
    this.disk.epoch += 1n;
    this.fence = new WorldFence();
    this.fence.epoch = this.disk.epoch;
    this.store = new MemoryQuotaStore();
    this.boot();
  }

  /** Tells the store what was booked, from the message after the `skip`th on; it may have heard some before. */
  async relay(skip: number): Promise<void> {
    for (const { seq, posted, captures } of this.disk.outbox.slice(skip)) {
      await this.store.applyBalance({ tenantId: TENANT, seq, postedNano: posted });
      for (const hold of await this.store.applyBooked({ tenantId: TENANT, seq, captures, counters: [] }, this.nowMs)) this.journal.note(hold);
    }
  }

  command({
    amountNano,
    ...input
  }: Pick<ReserveCommand, 'holdId' | 'callDigest' | 'bodyHash' | 'policy' | 'strict' | 'rule'> & { readonly amountNano: bigint }): ReserveCommand {
    const candidates = [{ amountNano, claims: [], facts: FACTS }] as const;
    return { tenantId: TENANT, nowMs: this.nowMs, ttlMs: TTL_MS, candidates, rulesRevision: 0, enforce: true, ...input };
  }

  private boot(): void {
    const { disk, clock } = this;
    const current = (): void => {
      if (this.fence.current() !== disk.epoch) throw new Error('stale');
    };
    this.journal = new HoldJournal(
      async (ended, live) => {
        await this.writeGate;
        current();
        disk.write(ended, live);
      },
      () => undefined,
    );
    const truth = {
      load: async (_ids: readonly string[], epoch: bigint) => [await this.load(epoch)],
      raise: async (epoch: bigint, raises: readonly CeilingRaise[]) => {
        if (disk.reserveEpoch !== epoch) return new Set<string>();
        for (const { ceilingNano, recordedNano } of raises) {
          if (ceilingNano > disk.ceiling) disk.ceiling = ceilingNano;
          if (recordedNano > disk.recorded) disk.recorded = recordedNano < disk.ceiling ? recordedNano : disk.ceiling;
        }
        return new Set(raises.map(({ tenantId }) => tenantId));
      },
      pools: new NoPools(),
    };
    this.service = new QuotaService(this.store, this.journal, truth, this.fence, clock, { storeDeadlineMs: this.storeDeadlineMs });
    const events = {
      chargeUnresolved: async (holds: readonly Hold[]) => {
        if (this.inboxAway) throw new DomainError({ code: 'storage.unavailable', kind: 'unavailable', publicMessage: 'away' });
        return holds.map((hold) => this.charge(hold));
      },
    } as unknown as HoldEvents;
    this.sweep = new SweepHolds(
      this.service,
      this.store,
      this.journal,
      events,
      { tenantsToSweep: async () => [TENANT], settleMissed: async (since) => disk.settleMissed(since.getTime()) },
      clock,
    );
  }

  private charge(hold: Hold): ChargeOutcome {
    const known =
      this.charged.has(hold.holdId) || this.reportedCalls.has(hold.callDigest ?? '') || this.disk.capturesOf(hold).some((capture) => capture.closes);
    this.charged.add(hold.holdId);
    if (known) return 'known';
    const left = hold.capturedNano >= hold.amountNano ? 0n : hold.amountNano - hold.capturedNano;
    this.disk.book(-left, [
      { holdId: hold.holdId, callDigest: null, signedNano: left, signedTokens: 0n, signedRequests: 0n, closes: false, provisional: true },
    ]);
    return 'charged';
  }

  private async load(epoch: bigint): Promise<Awaited<ReturnType<ConstructorParameters<typeof QuotaService>[2]['load']>>[number]> {
    await this.loadGate;
    const { disk, nowMs } = this;
    const lost = disk.ceiling - disk.recorded;
    if (disk.reserveEpoch !== epoch && lost > 0n) {
      this.fences += 1;
      const base = {
        tenantId: TENANT,
        kind: 'fence' as const,
        state: 'active' as const,
        resolution: null,
        capturedNano: 0n,
        capturedTokens: 0n,
        capturedRequests: 0n,
        claims: [],
        callDigest: null,
        bodyHash: null,
        facts: null,
      };
      const fence: Hold = {
        ...base,
        holdId: `fence-${this.fences}`,
        amountNano: lost,
        policy: 'release',
        createdAtMs: nowMs,
        expiresAtMs: nowMs + TTL_MS,
        resolvedAtMs: null,
      };
      disk.rows.set(fence.holdId, fence);
    }
    if (disk.reserveEpoch !== epoch) Object.assign(disk, { reserveEpoch: epoch, recorded: disk.ceiling });
    const open: Hold[] = [];
    for (const row of disk.rows.values()) {
      if (row.state !== 'active' && !isUncharged(row)) continue;
      const captures = disk.capturesOf(row);
      const closed = captures.some((capture) => capture.closes);
      const sum = captures.reduce((total, capture) => total + capture.signedNano, 0n);
      const hold = captureHold({ ...row, capturedNano: 0n }, { nano: sum, tokens: 0n, requests: 0n }, closed, nowMs);
      if (closed) disk.write([hold], []);
      else open.push(hold);
    }
    const recent = [...disk.rows.values()].filter((row) => row.callDigest !== null && row.state !== 'active' && (row.resolvedAtMs ?? 0) >= nowMs - TTL_MS);
    return {
      tenantId: TENANT,
      seq: disk.seq,
      postedNano: disk.posted,
      holds: open,
      recentCalls: recent.map((row) => ({ callDigest: row.callDigest ?? '', resolvedAtMs: row.resolvedAtMs ?? 0 })),
      promisedNano: disk.ceiling,
      ceilingNano: disk.ceiling,
      bookedSeq: disk.seq,
      rulesRevision: 0,
      counters: [],
      fencedUntilMs: 0,
    };
  }
}
