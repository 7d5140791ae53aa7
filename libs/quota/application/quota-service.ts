/**
 * The store together with what keeps it true: loads tenants it does not know, raises ceilings before they are reached, writes holds.
 * Nothing is promised while the fence does not prove, at this very moment, that this process may promise; and whatever has to wait for
 * PostgreSQL first has a deadline, after which the caller goes by its tenant's policy and a promise that comes late is taken back.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { digest128Hex, DomainError, type Clock, type Nano } from '#libs/kernel/index.js';
import { endHold, NOT_PROMISED, type Hold } from '../domain/hold.js';
import { CeilingChunks } from './ceiling-chunks.js';
import { CeilingRaises, type CommitCeilings } from './ceiling-raises.js';
import type { HoldJournal } from './hold-journal.js';
import { finalClaims, LeaseDesk } from './lease-desk.js';
import type { LeasePools } from './lease-pools.js';
import type { QuotaFence } from './ports.js';
import type { EndResult, ExtendCommand, ExtendResult, QuotaStore, ReserveCommand, ReserveResult, TenantSnapshot } from './quota-store.js';
import { ReclaimLeases } from './reclaim-leases.js';
import { UnrecordedClaims } from './unrecorded-claims.js';
import { withinDeadline } from './within-deadline.js';

/** Reads snapshots and commits ceilings for an epoch. @throws DomainError storage.unavailable, quota.stale_epoch */
export interface QuotaTruth {
  readonly load: (tenantIds: readonly string[], epoch: bigint) => Promise<TenantSnapshot[]>;
  readonly raise: CommitCeilings;
  readonly pools: LeasePools;
}

/** Tenants read in one snapshot; whoever comes meanwhile shares the next one. */
const LOAD_BATCH = 500;
/** Each try follows a load or a raise; the deadline ends the rest. */
const MAX_TRIES = 20;
/** A ceiling is raised ahead when it covers fewer calls than this. */
const RAISE_AHEAD_CALLS = 64n;
/** A server is asked who it is and given its epoch within this. */
const NEW_EPOCH_MS = 20;
/** API processes that may share a store before what all of them have not written yet exceeds what is fenced after a loss. */
const SHARING_PROCESSES = 8n;

export class QuotaService {
  private readonly loading = new Map<string, Promise<void>>();
  private toLoad: { tenantId: string; resolve: () => void; reject: (error: unknown) => void }[] = [];
  private loadingNow = false;
  private readonly raises: CeilingRaises;
  private readonly raising = new Map<string, Promise<boolean>>();
  /** Holds that nobody was told of yet; a repeat of the call may be told before its first asker. */
  private readonly unanswered = new Set<string>();
  private readonly chunks: CeilingChunks;
  private readonly desk: LeaseDesk;
  /** Takes back what lies idle of shared limits. */
  readonly reclaim: ReclaimLeases;
  private readonly unrecorded: UnrecordedClaims;
  private readonly loadListeners: ((holds: readonly Hold[]) => void)[] = [];

  constructor(
    readonly store: QuotaStore,
    readonly journal: HoldJournal,
    private readonly truth: QuotaTruth,
    private readonly fence: QuotaFence,
    private readonly clock: Clock,
    private readonly settings: { readonly storeDeadlineMs: number },
  ) {
    this.chunks = new CeilingChunks(() => this.nowMs());
    this.reclaim = new ReclaimLeases(store, truth.pools, async (tenantId) => await this.load(tenantId), fence, clock);
    this.desk = new LeaseDesk(store, truth.pools, this.reclaim, fence, clock);
    this.raises = new CeilingRaises(async () => await journal.flush(), truth.raise);
    this.unrecorded = new UnrecordedClaims(fence.exclusive ? 1n : SHARING_PROCESSES);
    journal.onRecorded((holds) => {
      this.unrecorded.recorded(holds);
      // Failing here costs nothing but a larger fence after a loss.
      void this.store.recorded(holds).catch(() => undefined);
    });
    fence.onLost(() => {
      this.chunks.forgetRates();
      void (fence.exclusive ? this.store.forgetAll() : this.forgetUnwritten()).catch(() => undefined);
    });
  }

  /**
   * Reserves, whatever has to be loaded, raised or committed first. A strict hold is committed when this returns.
   * @throws DomainError storage.unavailable, quota.fenced, quota.deadline: nothing was promised
   */
  async reserve(command: ReserveCommand): Promise<ReserveResult> {
    const result = await this.reserveInTime(command);
    // A process that was stopped for so long wakes up with a promise that others have ended meanwhile.
    if (result.kind !== 'held' || result.hold.expiresAtMs > this.nowMs()) return result;
    this.takeBack(result.hold);
    throw unavailable('quota.deadline', 'the promise ran out before it could be told');
  }

  private async reserveInTime(command: ReserveCommand): Promise<ReserveResult> {
    const epoch = this.assertMayPromise(command.tenantId);
    const first = await this.store.reserve(command);
    if (first.kind === 'held' && !command.strict && !this.unrecorded.isTooMuch(first.limits)) return this.promised(first, command);
    if (first.kind === 'refused' || first.kind === 'stale_rules' || first.kind === 'already_resolved' || first.kind === 'other_body') return first;
    const { holdId } = command;
    this.unanswered.add(holdId);
    const work = this.reserveSlowly(first, command, epoch).catch((error: unknown) => {
      this.unanswered.delete(holdId);
      throw error;
    });
    const result = await this.withinDeadline(work, (late) => {
      if (this.unanswered.delete(holdId) && late.kind === 'held') this.takeBack(late.hold);
    });
    this.unanswered.delete(holdId);
    return result;
  }

  /**
   * Raises a hold's amount and end, whatever has to be loaded or raised first. A strict one is committed when this returns.
   * @throws DomainError storage.unavailable, quota.fenced, quota.deadline: the hold may have been raised, and holds more until it ends
   */
  async extend(command: ExtendCommand): Promise<ExtendResult> {
    return await this.withinDeadline(this.extendSlowly(command), () => undefined);
  }

  /** Gives a hold's money back. When this returns, a crash does not bring the hold back. @throws DomainError storage.unavailable, quota.fenced */
  async release(hold: Hold): Promise<EndResult> {
    this.assertMayPromise(hold.tenantId);
    const input = { tenantId: hold.tenantId, holdId: hold.holdId, ending: { to: 'released', resolution: 'release' } as const, nowMs: this.nowMs() };
    let result = await this.store.end(input);
    if (result.kind === 'unknown') {
      // Found where it waits to be written, of a tenant that was forgotten since.
      await this.load(hold.tenantId);
      result = await this.store.end(input);
    }
    if (result.kind !== 'ended') return result;
    const hasRow = this.journal.isWritten(hold.holdId);
    this.journal.note(result.hold);
    if (hasRow) await this.journal.flush();
    return result;
  }

  /** Makes sure the store knows the tenant. @throws DomainError storage.unavailable, quota.fenced */
  async load(tenantId: string): Promise<void> {
    let pending = this.loading.get(tenantId);
    if (!pending) {
      pending = new Promise<void>((resolve, reject) => this.toLoad.push({ tenantId, resolve, reject })).finally(() => this.loading.delete(tenantId));
      this.loading.set(tenantId, pending);
      void this.pumpLoads();
    }
    await pending;
  }

  /** As {@link load}; a shared store that was found to be another one meanwhile is asked again under its new epoch. */
  private async loadAnew(tenantId: string): Promise<void> {
    await this.load(tenantId).catch(async (error: unknown) => {
      const isNew = error instanceof DomainError && (error.code === 'quota.stale_epoch' || error.code === 'quota.fenced');
      if (!isNew || !this.isShared) throw error;
      await delay(NEW_EPOCH_MS);
    });
  }

  /** Tells of the holds that each load brings. */
  onLoad(listener: (holds: readonly Hold[]) => void): void {
    this.loadListeners.push(listener);
  }

  /** Holds as PostgreSQL has them, of tenants that the store may know. */
  async readHolds(tenantId: string): Promise<readonly Hold[]> {
    const snapshots = await this.truth.load([tenantId], this.assertMayPromise(tenantId));
    return snapshots.flatMap(({ holds }) => holds);
  }

  isLoading(tenantId: string): boolean {
    return this.loading.has(tenantId);
  }

  async waitForLoad(tenantId: string): Promise<void> {
    await this.loading.get(tenantId)?.catch(() => undefined);
  }

  /** Whether other processes promise from the same store. */
  get isShared(): boolean {
    return !this.fence.exclusive;
  }

  get mayPromise(): boolean {
    return this.fence.current() !== null;
  }

  /** @throws DomainError quota.fenced */
  assertMayPromise(tenantId?: string): bigint {
    const epoch = this.fence.current(tenantId);
    if (epoch === null) throw unavailable('quota.fenced', 'this process may not promise at the moment');
    return epoch;
  }

  private promised(result: Extract<ReserveResult, { kind: 'held' }>, command: ReserveCommand): ReserveResult {
    this.journal.note(result.hold);
    this.unrecorded.add(result.hold);
    this.desk.watch(command.tenantId, result.limits);
    if (result.coveredNano < result.hold.amountNano * RAISE_AHEAD_CALLS && !this.raising.has(command.tenantId)) {
      // Failing here costs nothing: whoever reaches the ceiling raises it himself.
      void this.raiseAhead(command).catch(() => undefined);
    }
    return result;
  }

  private async reserveSlowly(first: ReserveResult, command: ReserveCommand, firstEpoch: bigint): Promise<ReserveResult> {
    let current = command;
    let result = first;
    let epoch = firstEpoch;
    for (let tries = 0; tries < MAX_TRIES; tries += 1) {
      if (result.kind === 'unknown') await this.loadAnew(command.tenantId);
      // Its first asker may still wait for the commit: the same answer must not be given before it, nor if it fails.
      else if (result.kind === 'replayed' && this.fence.exclusive && !this.journal.isCommitted(result.hold.holdId)) await this.journal.flush();
      else if (result.kind === 'short_of_lease') current = await this.desk.cover(current, result.shorts, epoch);
      else if (result.kind === 'above_ceiling') current = await this.chunks.inDemand(current, () => this.coverOrCommit(current));
      else return this.desk.explain(await this.secure(result, current, epoch), this.nowMs());
      epoch = this.assertMayPromise(command.tenantId);
      result = await this.store.reserve(current);
    }
    if (result.kind === 'held') this.takeBack(result.hold);
    throw unavailable('quota.store_unavailable', 'the tenant could not be loaded');
  }

  private async secure(result: ReserveResult, command: ReserveCommand, epoch: bigint): Promise<ReserveResult> {
    if (result.kind === 'replayed') {
      this.unanswered.delete(result.hold.holdId);
      // The first asker may be another process's.
      if (!this.fence.exclusive && command.strict) await this.journal.commit(result.hold, epoch);
      return result;
    }
    if (result.kind !== 'held') return result;
    if (!command.strict && !this.unrecorded.isTooMuch(result.limits)) return this.promised(result, command);
    try {
      await this.journal.commit(result.hold, epoch);
      this.assertMayPromise(command.tenantId);
      return result;
    } catch (error) {
      this.takeBack(result.hold);
      throw error;
    }
  }

  /** Nobody was promised this hold: it must not be charged, whatever the store knows by now. */
  private takeBack(hold: Hold): void {
    const ending = { to: 'released', resolution: NOT_PROMISED } as const;
    void this.store.end({ tenantId: hold.tenantId, holdId: hold.holdId, ending, nowMs: this.nowMs() }).catch(() => undefined);
    const released = endHold(hold, ending, this.nowMs());
    if (released) this.journal.note(released);
  }

  private async extendSlowly(command: ExtendCommand): Promise<ExtendResult> {
    let current = command;
    for (let tries = 0; tries < MAX_TRIES; tries += 1) {
      const epoch = this.assertMayPromise(command.tenantId);
      const result = await this.store.extend(current);
      if (result.kind === 'unknown') await this.load(command.tenantId);
      else if (result.kind === 'short_of_lease') {
        const denied = await this.desk.ask(command.tenantId, epoch, result.shorts);
        // A rise takes less than the whole it is asked with.
        if (denied.size > 0) current = { ...current, claims: finalClaims(current.claims, result.shorts, denied) };
      } else if (result.kind === 'above_ceiling') {
        const wallet = await this.store.wallet(command.tenantId);
        if (wallet !== 'unknown') await this.raise(command.tenantId, wallet.promisedNano, result.promisedNano);
      } else {
        if (result.kind === 'ended') this.journal.note(result.hold);
        if (result.kind === 'ended' && command.strict) await this.journal.flush();
        return result;
      }
    }
    throw unavailable('quota.store_unavailable', 'the tenant could not be loaded');
  }

  private async raiseAhead(command: ReserveCommand): Promise<void> {
    const wallet = await this.store.wallet(command.tenantId);
    if (wallet === 'unknown') return;
    const chunkNano = this.chunks.chunkOf(command, wallet);
    // Near the end of a balance the chunk shrinks with it: then the ceiling stands high enough as it is.
    if (chunkNano === null || wallet.promisedNano + chunkNano <= wallet.ceilingNano + chunkNano / 2n) return;
    this.chunks.noteRaise(command.tenantId, wallet.promisedNano);
    await this.raise(command.tenantId, wallet.promisedNano, wallet.promisedNano + chunkNano);
  }

  /** Raises the ceiling by a chunk, or, where the chunk would not hold a few such calls, has the call committed by itself. */
  private async coverOrCommit(command: ReserveCommand): Promise<ReserveCommand> {
    const wallet = await this.store.wallet(command.tenantId);
    if (wallet === 'unknown') return command;
    const chunkNano = this.chunks.chunkOf(command, wallet);
    if (chunkNano === null) return { ...command, strict: true };
    this.chunks.noteRaise(command.tenantId, wallet.promisedNano);
    const raised = await this.raise(command.tenantId, wallet.promisedNano, wallet.promisedNano + this.chunks.demandOf(command, wallet) + chunkNano);
    return raised ? command : { ...command, strict: true };
  }

  private async raise(tenantId: string, promisedNano: Nano, ceilingNano: Nano): Promise<boolean> {
    const running = this.raising.get(tenantId);
    if (running) return await running;
    const epoch = this.assertMayPromise(tenantId);
    const work = (async (): Promise<boolean> => {
      const recordedNano = await this.store.recordedNano(tenantId, promisedNano);
      const raised = await this.raises.raise({ tenantId, ceilingNano, recordedNano }, epoch);
      if (raised && this.fence.current(tenantId) === epoch) await this.store.raiseCeiling(tenantId, ceilingNano);
      else await this.store.forget(tenantId);
      return raised;
    })().finally(() => this.raising.delete(tenantId));
    this.raising.set(tenantId, work);
    return await work;
  }

  private async pumpLoads(): Promise<void> {
    if (this.loadingNow) return;
    this.loadingNow = true;
    // Whoever asks in the same turn of the event loop shares the snapshot.
    await Promise.resolve();
    while (this.toLoad.length > 0) {
      const batch = this.toLoad.splice(0, LOAD_BATCH);
      try {
        await this.loadBatch(batch.map((entry) => entry.tenantId));
        for (const entry of batch) entry.resolve();
      } catch (error) {
        for (const entry of batch) entry.reject(error);
      }
    }
    this.loadingNow = false;
  }

  private async loadBatch(tenantIds: readonly string[]): Promise<void> {
    const byEpoch = new Map<bigint, string[]>();
    for (const tenantId of tenantIds) {
      const epoch = this.assertMayPromise(tenantId);
      byEpoch.set(epoch, [...(byEpoch.get(epoch) ?? []), tenantId]);
    }
    await this.journal.flush();
    for (const [epoch, own] of byEpoch) await this.loadUnder(epoch, own);
  }

  private async loadUnder(epoch: bigint, tenantIds: readonly string[]): Promise<void> {
    const tickets = await this.store.beginLoad(tenantIds, this.nowMs());
    const snapshots = await this.truth.load(tenantIds, epoch);
    // What was read with a right that was lost meanwhile may be old.
    if (tenantIds.some((tenantId) => this.fence.current(tenantId) !== epoch))
      throw unavailable('quota.fenced', 'the right to promise was lost while the tenant was loaded');
    await this.store.load(snapshots, this.nowMs(), tickets);
    for (const { holds } of snapshots) {
      if (holds.length === 0) continue;
      this.journal.known(holds);
      for (const listener of this.loadListeners) listener(holds);
    }
  }

  /** The store was lost: what this process promised and did not write may be missing where another one has loaded the tenant already. */
  private async forgetUnwritten(): Promise<void> {
    const tenantIds = this.journal.tenantsWithBacklog();
    if (tenantIds.length === 0) return;
    await this.journal.flush();
    for (const tenantId of tenantIds) await this.store.forget(tenantId);
  }

  private async withinDeadline<T extends object>(work: Promise<T>, onLate: (result: T) => void): Promise<T> {
    const result = await withinDeadline(work, this.settings.storeDeadlineMs, onLate);
    if (result === null) throw unavailable('quota.deadline', 'the quota state did not answer in time');
    return result;
  }

  private nowMs(): number {
    return this.clock.now().getTime();
  }
}

/** Hex of the 128-bit digest under which a call is remembered. */
export function callDigestOf(tenantId: string, callId: string): string {
  return digest128Hex('quota.call', tenantId, callId);
}

function unavailable(code: string, publicMessage: string): DomainError {
  return new DomainError({ code, kind: 'unavailable', publicMessage, retryAfterMs: 1_000 });
}
