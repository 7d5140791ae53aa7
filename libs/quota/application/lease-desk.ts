/**
 * Where calls get what they need of limits that all tenants share. What is asked for while one batch is under way is asked together; a pool
 * that had no room is not asked again for a moment, so that calls it refuses do not all go to PostgreSQL; and a tenant whose grant runs low is
 * given more before a call has to wait for it. Nothing is promised here: a grant is told to the store, and the store decides.
 */
import { MINUTE_MS, type Clock } from '#libs/kernel/index.js';
import type { Refusal } from '../domain/judge.js';
import { counterOfLease, leaseKey, type LeaseGrant, type Short } from '../domain/lease.js';
import type { Claim } from '../domain/limit.js';
import type { LeasePools, PoolAnswer, PoolAsk } from './lease-pools.js';
import type { QuotaFence } from './ports.js';
import type { LimitView, QuotaStore, ReserveCommand, ReserveResult } from './quota-store.js';
import type { ReclaimLeases } from './reclaim-leases.js';

/** What spares a tenant whose rate is not known yet from asking again. */
const FIRST_CALLS = 256n;
/** A grant that covers fewer calls like the last one is raised ahead. */
const AHEAD_CALLS = 4n;
/** So long a pool that had no room is taken to have none. */
const DENIED_MS = 250;
const BATCH = 500;
/** Leases whose rate or denial is remembered. */
const MAX_KNOWN = 50_000;

interface Waiting {
  readonly ask: PoolAsk;
  readonly epoch: bigint;
  readonly resolve: (answer: PoolAnswer) => void;
  readonly reject: (error: unknown) => void;
}

/** The last grant, and how much of it was new. */
interface Rate {
  readonly granted: bigint;
  readonly atMs: number;
  readonly perMinute: bigint;
}

type Denial = Extract<PoolAnswer, { kind: 'denied' }> & { readonly untilMs: number };

export class LeaseDesk {
  private waiting: Waiting[] = [];
  private running = false;
  private readonly rates = new Map<string, Rate>();
  private readonly denials = new Map<string, Denial>();
  private readonly askedAhead = new Set<string>();

  constructor(
    private readonly store: QuotaStore,
    private readonly pools: LeasePools,
    private readonly reclaim: ReclaimLeases,
    private readonly fence: QuotaFence,
    private readonly clock: Clock,
  ) {}

  /** Asks for what the call is short of; answers the call as it is to be asked again: what was denied is not asked for any more. @throws DomainError storage.unavailable */
  async cover(command: ReserveCommand, shorts: readonly Short[], epoch: bigint): Promise<ReserveCommand> {
    const denied = await this.ask(command.tenantId, epoch, shorts);
    if (denied.size === 0) return command;
    const [first, ...others] = command.candidates.map((candidate) => ({ ...candidate, claims: finalClaims(candidate.claims, shorts, denied) }));
    return first === undefined ? command : { ...command, candidates: [first, ...others] };
  }

  /** Asks the pools; answers the leases that will not be larger for it. @throws DomainError storage.unavailable */
  async ask(tenantId: string, epoch: bigint, shorts: readonly Short[]): Promise<ReadonlySet<string>> {
    const answers = await Promise.all(shorts.map(async (short) => await this.askFor(tenantId, epoch, short)));
    if (answers.some((answer) => answer.kind === 'stale')) await this.store.forget(tenantId);
    return new Set(shorts.filter((_short, index) => answers[index]?.kind === 'denied').map(({ lease }) => lease));
  }

  /** Asks for more before the tenant's grant runs out. Never waits, never fails. */
  watch(tenantId: string, limits: readonly LimitView[]): void {
    if (!limits.some(({ claim }) => claim.lease !== undefined)) return;
    const epoch = this.fence.current(tenantId);
    if (epoch === null) return;
    for (const { claim, used, held } of limits) {
      if (claim.lease === undefined || claim.silent || claim.amount === 0n) continue;
      for (const percent of [claim.lease.block, claim.lease.downgrade]) {
        if (percent === null) continue;
        const lease = leaseKey(claim.counter, percent);
        const name = nameOf(tenantId, lease);
        const known = this.rates.get(name);
        if (known === undefined || this.askedAhead.has(name) || this.denialOf(lease, 0n) !== null) continue;
        const low = this.wantedOf(known, claim.amount) / 4n;
        const few = claim.amount * AHEAD_CALLS;
        if (known.granted - used - held >= (low > few ? low : few)) continue;
        this.askedAhead.add(name);
        const endsAtMs = claim.window.kind === 'fixed' ? claim.window.endsAtMs : null;
        void this.askPool(tenantId, epoch, { lease, counter: claim.counter, committed: used + held, amount: claim.amount, endsAtMs }, false)
          .catch(() => undefined)
          .finally(() => this.askedAhead.delete(name));
      }
    }
  }

  /** Why a shared limit refuses, as far as its pool has told: spent, or set aside for others. */
  explain(result: ReserveResult, nowMs: number): ReserveResult {
    return result.kind === 'refused' ? { ...result, refusal: this.reasonOf(result.refusal, nowMs) } : result;
  }

  private reasonOf(refusal: Refusal, nowMs: number): Refusal {
    const { claim } = refusal;
    const percent = claim?.lease?.block ?? null;
    if (refusal.code !== 'global_lease' || claim === null || percent === null) return refusal;
    const denial = this.denials.get(leaseKey(claim.counter, percent));
    if (denial?.spent !== true) return refusal;
    const endsAtMs = claim.window.kind === 'fixed' ? claim.window.endsAtMs : null;
    return { code: claim.rate ? 'rate_limited' : 'budget_exhausted', claim, retryAfterMs: endsAtMs === null ? null : endsAtMs - nowMs, exact: false };
  }

  private async askFor(tenantId: string, epoch: bigint, short: Short): Promise<PoolAnswer> {
    const denial = this.denialOf(short.lease, short.amount);
    if (denial !== null) return denial;
    const answer = await this.askPool(tenantId, epoch, short);
    if (answer.kind !== 'denied') return answer;
    // What others hold and do not use is taken back before anybody is refused for it.
    const found = answer.spent ? 0 : await this.reclaim.make(short.lease, tenantId, answer.missing);
    const again = found === 0 ? answer : await this.askPool(tenantId, epoch, short);
    if (again.kind === 'denied') this.remember(this.denials, short.lease, { ...again, untilMs: this.nowMs() + DENIED_MS });
    return again;
  }

  private denialOf(lease: string, amount: bigint): Denial | null {
    const known = this.denials.get(lease);
    if (known === undefined) return null;
    if (known.untilMs > this.nowMs() && amount > (amount === 0n ? -1n : known.room)) return known;
    if (known.untilMs <= this.nowMs()) this.denials.delete(lease);
    return null;
  }

  private async askPool(tenantId: string, epoch: bigint, { lease, committed, amount, endsAtMs }: Short, waits = true): Promise<PoolAnswer> {
    const wanted = this.wantedOf(this.rates.get(nameOf(tenantId, lease)), amount);
    return await new Promise<PoolAnswer>((resolve, reject) => {
      this.waiting.push({ ask: { tenantId, lease, committed, amounts: waits ? [amount] : [], unit: amount, wanted, endsAtMs }, epoch, resolve, reject });
      void this.pump();
    });
  }

  /** What a minute takes, where that is known. */
  private wantedOf(known: Rate | undefined, amount: bigint): bigint {
    return known === undefined || known.perMinute === 0n ? amount * FIRST_CALLS : known.perMinute;
  }

  /** Never rejects: failures go to those who wait. */
  private async pump(): Promise<void> {
    if (this.running) return;
    this.running = true;
    // Whoever asks in the same turn of the event loop goes along.
    await Promise.resolve();
    for (let first = this.waiting[0]; first !== undefined; first = this.waiting[0]) {
      const { epoch } = first;
      const batch = this.waiting.filter((entry) => entry.epoch === epoch).slice(0, BATCH);
      const taken = new Set(batch);
      this.waiting = this.waiting.filter((entry) => !taken.has(entry));
      await this.settle(epoch, batch);
    }
    this.running = false;
  }

  private async settle(epoch: bigint, batch: readonly Waiting[]): Promise<void> {
    const groups = new Map<string, Waiting[]>();
    for (const entry of batch) {
      const name = nameOf(entry.ask.tenantId, entry.ask.lease);
      groups.set(name, [...(groups.get(name) ?? []), entry]);
    }
    try {
      const asks = [...groups.values()].map(together);
      const answers = await this.pools.grant(epoch, asks);
      await this.tell(epoch, asks, answers);
      [...groups.values()].forEach((entries, index) => {
        const answer = answers[index];
        if (answer) for (const { resolve } of entries) resolve(answer);
      });
    } catch (error) {
      for (const { reject } of batch) reject(error);
    }
  }

  private async tell(epoch: bigint, asks: readonly PoolAsk[], answers: readonly PoolAnswer[]): Promise<void> {
    const nowMs = this.nowMs();
    const byTenant = new Map<string, LeaseGrant[]>();
    asks.forEach(({ tenantId, lease }, index) => {
      const answer = answers[index];
      if (answer?.kind !== 'granted') return;
      this.noteRate(nameOf(tenantId, lease), answer.grant.granted, nowMs);
      byTenant.set(tenantId, [...(byTenant.get(tenantId) ?? []), answer.grant]);
    });
    // Of another epoch's tenants the next load tells; what is not told here is stranded until then, never given out twice.
    await Promise.all(
      [...byTenant].map(async ([tenantId, grants]) => {
        if (this.fence.current(tenantId) === epoch) await this.store.grant(tenantId, grants, nowMs);
      }),
    );
  }

  private noteRate(name: string, granted: bigint, nowMs: number): void {
    const before = this.rates.get(name);
    const elapsedMs = before === undefined ? 0 : nowMs - before.atMs;
    const used = before === undefined || granted <= before.granted ? 0n : granted - before.granted;
    const perMinute = elapsedMs <= 0 ? (before?.perMinute ?? 0n) : (used * BigInt(MINUTE_MS)) / BigInt(elapsedMs);
    this.remember(this.rates, name, { granted, atMs: nowMs, perMinute });
  }

  private remember<T>(known: Map<string, T>, name: string, value: T): void {
    known.delete(name);
    known.set(name, value);
    const oldest = known.size > MAX_KNOWN ? known.keys().next().value : undefined;
    if (oldest !== undefined) known.delete(oldest);
  }

  private nowMs(): number {
    return this.clock.now().getTime();
  }
}

/** Claims of which a pool had nothing: judged by what their tenant has from now on. Smaller ones may still ask. */
export function finalClaims(claims: readonly Claim[], shorts: readonly Short[], denied: ReadonlySet<string>): Claim[] {
  const smallest = new Map<string, bigint>();
  for (const { lease, amount } of shorts) if (denied.has(lease)) smallest.set(counterOfLease(lease), amount);
  return claims.map((claim) => {
    const refused = smallest.get(claim.counter);
    if (claim.lease === undefined || refused === undefined || claim.amount < refused) return claim;
    return { ...claim, lease: { ...claim.lease, isFinal: true } };
  });
}

function nameOf(tenantId: string, lease: string): string {
  return `${lease} ${tenantId}`;
}

/** One ask of a tenant for one lease, whatever waits for it. */
function together(entries: readonly Waiting[]): PoolAsk {
  const [first, ...others] = entries.map(({ ask }) => ask);
  if (first === undefined) throw new RangeError('nothing was asked');
  return others.reduce(
    (sum, ask) => ({
      ...sum,
      committed: ask.committed > sum.committed ? ask.committed : sum.committed,
      amounts: [...sum.amounts, ...ask.amounts],
      wanted: ask.wanted > sum.wanted ? ask.wanted : sum.wanted,
    }),
    first,
  );
}
