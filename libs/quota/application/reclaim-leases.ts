/**
 * Takes back what tenants were granted of shared limits and do not use: all of what lay idle between two looks, and what is missing when
 * another tenant would be refused for it. The store lowers first, in the step in which it would promise; only then is it given
 * to others. Whoever dies in between strands it until the next look, which finds it in PostgreSQL whatever process it was (F23).
 */
import { MINUTE_MS, type Clock } from '#libs/kernel/index.js';
import type { LeasePools, LoweredLease, TenantLease, TouchedLease } from './lease-pools.js';
import type { QuotaFence } from './ports.js';
import type { LowerLease, LowerResult, QuotaStore } from './quota-store.js';

/** A lease whose tenant used and held the same at two looks so far apart is idle. */
export const LOOK_MS = MINUTE_MS;
const LOOKS = 200;
/** What cannot be looked at now, because its store is away, comes first again: it must not keep a turn from ending. */
const ROUNDS = 10;
/** Whom a tenant that needs something may take from at once. */
const HOLDERS = 16;

interface Round {
  readonly tenants: Set<string>;
  missing: bigint;
  readonly done: Promise<number>;
}

type How = Pick<LowerLease, 'atMost' | 'onlyAt'>;
const ALL: How = { atMost: null, onlyAt: null };

export class ReclaimLeases {
  /** The round that takes back for whoever asks, by lease, and the one that begins after it. */
  private readonly running = new Map<string, Promise<number>>();
  private readonly next = new Map<string, Round>();

  constructor(
    private readonly store: QuotaStore,
    private readonly pools: LeasePools,
    private readonly load: (tenantId: string) => Promise<void>,
    private readonly fence: QuotaFence,
    private readonly clock: Clock,
  ) {}

  /** Looks at the leases whose turn it is; returns how many were lowered. @throws DomainError storage.unavailable */
  async execute(): Promise<number> {
    let lowered = 0;
    for (let round = 0; round < ROUNDS; round += 1) {
      if (this.fence.current() === null) return lowered;
      const due = await this.pools.toLookAt(new Date(this.clock.now().getTime() - LOOK_MS), LOOKS);
      const live = due.length === 0 ? [] : await this.pools.dropOld(due);
      lowered += await this.lower(live, ({ lookedCommitted }) => ({ atMost: null, onlyAt: lookedCommitted ?? -1n }));
      if (due.length < LOOKS) break;
    }
    return lowered;
  }

  /** Makes room in a pool for `tenantId`; returns how many leases gave something up. Those who ask while a round runs share the next one. */
  async make(lease: string, tenantId: string, missing: bigint): Promise<number> {
    let round = this.next.get(lease);
    if (round === undefined) {
      const tenants = new Set<string>();
      const before = this.running.get(lease) ?? Promise.resolve(0);
      const done = before.catch(() => 0).then(async () => await this.begin(lease));
      round = { tenants, missing: 0n, done };
      this.next.set(lease, round);
    }
    round.tenants.add(tenantId);
    round.missing += missing;
    return await round.done;
  }

  private async begin(lease: string): Promise<number> {
    const round = this.next.get(lease);
    this.next.delete(lease);
    if (round === undefined) return 0;
    const work = this.pools.holders(lease, HOLDERS).then(async (holders) => {
      let { missing } = round;
      return await this.lower(
        holders,
        ({ tenantId, isOver }) => {
          if (isOver) return ALL;
          return missing <= 0n || round.tenants.has(tenantId) ? null : { atMost: missing, onlyAt: null };
        },
        (taken) => (missing -= taken),
      );
    });
    this.running.set(lease, work);
    return await work.finally(() => this.running.delete(lease));
  }

  /** `how` is asked of each in turn, after it was told what the one before gave up. */
  private async lower(
    leases: readonly TenantLease[],
    how: (touched: TouchedLease) => How | null,
    onTaken: (taken: bigint) => void = () => undefined,
  ): Promise<number> {
    const mine = leases.filter(({ tenantId }) => this.fence.current(tenantId) !== null);
    if (mine.length === 0) return 0;
    // What nobody has asked for since a start has no state to lower; its load gives its leases new numbers, so it comes before they are read.
    const asleep = new Set<string>();
    for (const { tenantId } of mine) if (!asleep.has(tenantId) && (await this.store.wallet(tenantId)) === 'unknown') asleep.add(tenantId);
    await Promise.all([...asleep].map(async (tenantId) => await this.load(tenantId)));
    const choose = (touched: TouchedLease): How | null => (asleep.has(touched.tenantId) || touched.isOver ? ALL : how(touched));
    const first = await this.lowerKnown(mine, choose, onTaken);
    // Loaded with rules that are older than the budget: its calls count when it is loaded anew.
    const again = mine.filter(({ tenantId }) => first.unknown.has(tenantId));
    await Promise.all([...first.unknown].map(async (tenantId) => await this.load(tenantId)));
    const second = again.length === 0 ? [] : (await this.lowerKnown(again, choose, onTaken)).lowered;
    const done = [...first.lowered, ...second];
    return done.length === 0 ? 0 : await this.pools.giveBack(done, (tenantId) => this.fence.current(tenantId));
  }

  private async lowerKnown(
    leases: readonly TenantLease[],
    how: (touched: TouchedLease) => How | null,
    onTaken: (taken: bigint) => void,
  ): Promise<{ lowered: LoweredLease[]; unknown: Set<string> }> {
    const lowered: LoweredLease[] = [];
    const unknown = new Set<string>();
    for (const touched of await this.pools.touch(leases, (tenantId) => this.fence.current(tenantId))) {
      const chosen = how(touched);
      const result = chosen === null ? null : await this.lowerOne(touched, chosen);
      if (result?.kind === 'unknown') unknown.add(touched.tenantId);
      if (result?.kind !== 'looked') continue;
      onTaken(touched.grant.granted - result.granted);
      lowered.push({ touched, granted: result.granted, committed: result.committed, bookedSeq: result.bookedSeq });
    }
    return { lowered, unknown };
  }

  private async lowerOne({ tenantId, grant, nextVersion, rulesRevision }: TouchedLease, how: How): Promise<LowerResult> {
    return await this.store.lowerLease({ tenantId, grant, nextVersion, rulesRevision, nowMs: this.clock.now().getTime(), ...how });
  }
}
