/**
 * Quota state in the process's own memory. Every method does its work between two awaits, hence is one atomic step; the promises are for
 * the port's other implementations. Correct only while the process lock is held: `forgetAll` is called the moment it is lost.
 * The cost of a reserve is a few map look-ups, whatever the number of tenants, open holds or past calls.
 */
import type { Nano } from '#libs/kernel/index.js';
import { captureHold, chargeHold, claimHeldBy, endHold, extendHold, heldBy, isUncharged, wasPromised, type Ending, type Hold } from '../domain/hold.js';
import { judge, roomOf, shortsOf, type Case, type Choice, type ReadCounter } from '../domain/judge.js';
import { counterOfLease, type LeaseGrant, type Short } from '../domain/lease.js';
import type { Claim } from '../domain/limit.js';
import { newHold } from '../application/new-hold.js';
import {
  QuotaStore,
  type BalanceChange,
  type BookedBatch,
  type Candidate,
  type EndResult,
  type ExtendCommand,
  type ExtendResult,
  type LimitView,
  type LowerLease,
  type LowerResult,
  type ReserveCommand,
  type ReserveResult,
  type TenantSnapshot,
  type WalletView,
} from '../application/quota-store.js';
import { CounterTable } from './counter-table.js';
import { ExpiryBuckets } from './expiry-buckets.js';
import { LeaseTable } from './lease-table.js';
import { ResolvedCalls } from './resolved-calls.js';

interface TenantState {
  seq: bigint;
  postedNano: Nano;
  heldNano: Nano;
  promisedNano: Nano;
  ceilingNano: Nano;
  /** Bookings up to this batch are inside the holds and counters: loaded with them, or applied since. */
  bookedSeq: bigint;
  readonly rulesRevision: number;
  readonly counters: CounterTable;
  readonly fencedUntilMs: number;
  /** {@link NO_LEASES} of a tenant that shares nothing. */
  leases: LeaseTable;
  /** Open holds: active, and unresolved ones that keep money until their policy's charge is booked. {@link NONE} while there are none: of 100,000 tenants most ask nothing. */
  holds: Map<string, Hold>;
  /** Open holds by call digest. */
  byCall: Map<string, string>;
}

/** Shared and never written to: two empty maps a tenant were half of what a quiet tenant takes. */
const NONE: Map<string, never> = new Map<string, never>();
const NO_LEASES = new LeaseTable(undefined);

export class MemoryQuotaStore extends QuotaStore {
  private readonly tenants = new Map<string, TenantState>();
  private readonly tenantOfHold = new Map<string, string>();
  private readonly expiries = new ExpiryBuckets();
  private readonly resolvedCalls = new ResolvedCalls();

  override async reserve(command: ReserveCommand): Promise<ReserveResult> {
    const state = this.tenants.get(command.tenantId);
    if (!state) return { kind: 'unknown' };
    if (command.rulesRevision !== state.rulesRevision) return this.settleRules(state, command);
    const repeated = this.repeatOf(state, command);
    if (repeated) return repeated;

    const read: ReadCounter = (claim) => state.counters.view(claim.counter, command.nowMs);
    const input = caseOf(state, command, command.candidates);
    const { choice, would } = judge(input, state, read);
    const shorts = shortsOfChoices([choice, would], input, read);
    if (shorts.length > 0) return { kind: 'short_of_lease', shorts };
    if (choice.kind === 'refused') {
      const rooms = command.candidates.map((candidate) => roomOf(candidate, input, state, read));
      return { kind: 'refused', refusal: choice.refusal, rooms, wallet: viewOf(state), limits: limitViews(state, command.candidates[0].claims, command.nowMs) };
    }
    const candidate = command.candidates[choice.index] ?? command.candidates[0];
    if (!command.strict) {
      const promisedNano = state.promisedNano + candidate.amountNano;
      if (promisedNano > state.ceilingNano) return { kind: 'above_ceiling', promisedNano };
      state.promisedNano = promisedNano;
    }
    const hold = newHold(command, candidate);
    this.put(state, hold, command.nowMs);
    return {
      kind: 'held',
      hold,
      index: choice.index,
      why: choice.why,
      claim: choice.claim,
      would: would === choice || (would.kind === 'taken' && would.index === choice.index) ? null : would,
      wallet: viewOf(state),
      limits: limitViews(state, candidate.claims, command.nowMs),
      coveredNano: state.ceilingNano - state.promisedNano,
    };
  }

  override async end(input: { tenantId: string; holdId: string; ending: Ending; nowMs: number }): Promise<EndResult> {
    const state = this.tenants.get(input.tenantId);
    if (!state) return { kind: 'unknown' };
    const hold = state.holds.get(input.holdId);
    if (!hold) return { kind: 'not_found' };
    const ended = endHold(hold, input.ending, input.nowMs);
    if (!ended) return { kind: 'ended_before', hold };
    this.replace(state, hold, ended, input.nowMs);
    return { kind: 'ended', hold: ended, wallet: viewOf(state) };
  }

  override async extend(input: ExtendCommand): Promise<ExtendResult> {
    const state = this.tenants.get(input.tenantId);
    if (!state) return { kind: 'unknown' };
    const hold = state.holds.get(input.holdId);
    if (!hold) return { kind: 'not_found' };
    const extended = extendHold(hold, input);
    if (!extended) return { kind: 'ended_before', hold };
    const riseNano = extended.amountNano - hold.amountNano;
    const read: ReadCounter = (claim) => state.counters.view(claim.counter, input.nowMs);
    const rise: Candidate = { amountNano: riseNano, facts: input.facts, claims: risingClaims(hold, input.claims) };
    const risen = caseOf(state, input, [rise]);
    const { choice } = judge(risen, state, read);
    const shorts = shortsOfChoices([choice], risen, read);
    if (shorts.length > 0) return { kind: 'short_of_lease', shorts };
    if (choice.kind === 'refused') return { kind: 'refused', refusal: choice.refusal, wallet: viewOf(state) };
    if (!input.strict) {
      const promisedNano = state.promisedNano + riseNano;
      if (riseNano > 0n && promisedNano > state.ceilingNano) return { kind: 'above_ceiling', promisedNano };
      state.promisedNano = promisedNano;
    }
    this.replace(state, hold, extended, input.nowMs);
    return { kind: 'ended', hold: extended, wallet: viewOf(state) };
  }

  override async applyBalance(change: BalanceChange): Promise<'applied' | 'old' | 'gap' | 'unknown'> {
    const state = this.tenants.get(change.tenantId);
    if (!state) return 'unknown';
    if (change.seq <= state.seq) return 'old';
    if (change.seq > state.seq + 1n) {
      this.drop(change.tenantId);
      return 'gap';
    }
    state.seq = change.seq;
    state.postedNano = change.postedNano;
    return 'applied';
  }

  override async applyBooked(batch: BookedBatch, nowMs: number): Promise<Hold[]> {
    const state = this.tenants.get(batch.tenantId);
    if (!state || batch.seq <= state.bookedSeq) return [];
    if (batch.seq > state.bookedSeq + 1n) {
      this.drop(batch.tenantId);
      return [];
    }
    state.bookedSeq = batch.seq;
    for (const delta of batch.counters) state.counters.use(delta, nowMs);
    const changed = new Map<string, Hold>();
    for (const capture of batch.captures) {
      const holdId = capture.holdId ?? (capture.callDigest === null ? undefined : state.byCall.get(capture.callDigest));
      const hold = holdId === undefined ? undefined : state.holds.get(holdId);
      if (!hold) continue;
      const taken = { nano: capture.signedNano, tokens: capture.signedTokens, requests: capture.signedRequests };
      const captured = captureHold(hold, taken, capture.closes, nowMs);
      const after = capture.provisional && capture.signedNano >= 0n ? chargeHold(captured) : captured;
      this.replace(state, hold, after, nowMs);
      changed.set(hold.holdId, after);
    }
    return [...changed.values()];
  }

  override async expire(nowMs: number, limit: number): Promise<Hold[]> {
    return this.expiries.takeDue(nowMs, limit).flatMap(({ tenantId, holdId }) => {
      const state = this.tenants.get(tenantId);
      const hold = state?.holds.get(holdId);
      if (!state || !hold || hold.state !== 'active') return [];
      if (hold.expiresAtMs > nowMs) {
        this.expiries.add(hold, hold.expiresAtMs);
        return [];
      }
      const to = hold.kind === 'fence' ? 'released' : 'unresolved';
      const ended = endHold(hold, { to, resolution: 'expired' }, nowMs);
      if (!ended) return [];
      this.replace(state, hold, ended, nowMs);
      return [ended];
    });
  }

  override async load(snapshots: readonly TenantSnapshot[], nowMs: number): Promise<void> {
    for (const snapshot of snapshots) {
      if (this.tenants.has(snapshot.tenantId)) continue;
      const state: TenantState = {
        seq: snapshot.seq,
        bookedSeq: snapshot.bookedSeq,
        rulesRevision: snapshot.rulesRevision,
        counters: new CounterTable(),
        fencedUntilMs: snapshot.fencedUntilMs,
        leases: snapshot.leases === undefined ? NO_LEASES : new LeaseTable(snapshot.leases),
        postedNano: snapshot.postedNano,
        heldNano: 0n,
        promisedNano: snapshot.promisedNano,
        ceilingNano: snapshot.ceilingNano,
        holds: NONE,
        byCall: NONE,
      };
      this.tenants.set(snapshot.tenantId, state);
      for (const delta of snapshot.counters) state.counters.use(delta, nowMs);
      // In the order in which they were asked for: slots of running calls are kept in the order of their ends.
      for (const hold of snapshot.holds.toSorted((a, b) => a.createdAtMs - b.createdAtMs)) this.put(state, hold, nowMs);
      for (const call of snapshot.recentCalls) this.resolvedCalls.add(call.callDigest, call.resolvedAtMs);
    }
  }

  override async raiseCeiling(tenantId: string, ceilingNano: Nano): Promise<void> {
    const state = this.tenants.get(tenantId);
    if (state && ceilingNano > state.ceilingNano) state.ceilingNano = ceilingNano;
  }

  override async grant(tenantId: string, grants: readonly LeaseGrant[], nowMs: number): Promise<void> {
    const state = this.tenants.get(tenantId);
    if (!state) return;
    if (state.leases === NO_LEASES) state.leases = new LeaseTable(undefined);
    for (const grant of grants) state.leases.hear(grant, nowMs);
  }

  override async lowerLease(input: LowerLease): Promise<LowerResult> {
    const state = this.tenants.get(input.tenantId);
    if (state && input.rulesRevision > state.rulesRevision) this.drop(input.tenantId);
    if (!state || input.rulesRevision > state.rulesRevision) return { kind: 'unknown' };
    if (state.leases === NO_LEASES) state.leases = new LeaseTable(undefined);
    const { used, held } = state.counters.view(counterOfLease(input.grant.lease), input.nowMs);
    const granted = state.leases.lower(input, used + held, state.fencedUntilMs);
    return granted === null ? { kind: 'newer' } : { kind: 'looked', granted, committed: used + held, bookedSeq: state.bookedSeq };
  }

  override async locate(holdId: string): Promise<Hold | null> {
    const tenantId = this.tenantOfHold.get(holdId);
    return tenantId === undefined ? null : (this.tenants.get(tenantId)?.holds.get(holdId) ?? null);
  }

  override async wallet(tenantId: string): Promise<(WalletView & { promisedNano: Nano; ceilingNano: Nano }) | 'unknown'> {
    const state = this.tenants.get(tenantId);
    if (!state) return 'unknown';
    return { ...viewOf(state), promisedNano: state.promisedNano, ceilingNano: state.ceilingNano };
  }

  override async limits(input: { tenantId: string; claims: readonly Claim[]; rulesRevision: number; nowMs: number }): Promise<readonly LimitView[] | null> {
    const state = this.tenants.get(input.tenantId);
    return state?.rulesRevision === input.rulesRevision ? limitViews(state, input.claims, input.nowMs) : null;
  }

  override async forgetAll(): Promise<void> {
    this.tenants.clear();
    this.tenantOfHold.clear();
    this.expiries.clear();
  }

  override async forget(tenantId: string): Promise<void> {
    this.drop(tenantId);
  }

  /** Older rules have to be resolved again; newer ones are not what the counters here were loaded for. */
  private settleRules(state: TenantState, command: ReserveCommand): ReserveResult {
    if (command.rulesRevision < state.rulesRevision) return { kind: 'stale_rules' };
    this.drop(command.tenantId);
    return { kind: 'unknown' };
  }

  private repeatOf(state: TenantState, command: ReserveCommand): ReserveResult | null {
    if (command.callDigest === null) return null;
    const holdId = state.byCall.get(command.callDigest);
    const hold = holdId === undefined ? undefined : state.holds.get(holdId);
    if (hold) {
      if (hold.bodyHash !== command.bodyHash) return { kind: 'other_body' };
      if (hold.state !== 'active') return { kind: 'already_resolved' };
      const same = command.candidates.find(({ facts }) => facts.model === hold.facts?.model) ?? command.candidates[0];
      return { kind: 'replayed', hold, wallet: viewOf(state), limits: limitViews(state, same.claims, command.nowMs) };
    }
    return this.resolvedCalls.has(command.callDigest, command.nowMs) ? { kind: 'already_resolved' } : null;
  }

  private put(state: TenantState, hold: Hold, nowMs: number): void {
    if (state.holds === NONE) state.holds = new Map();
    state.holds.set(hold.holdId, hold);
    this.tenantOfHold.set(hold.holdId, hold.tenantId);
    if (hold.callDigest !== null) {
      if (state.byCall === NONE) state.byCall = new Map();
      state.byCall.set(hold.callDigest, hold.holdId);
    }
    state.heldNano += heldBy(hold);
    for (const claim of hold.claims) state.counters.hold(claim, hold, claimHeldBy(hold, claim), nowMs);
    if (hold.state === 'active') this.expiries.add(hold, hold.expiresAtMs);
  }

  private replace(state: TenantState, before: Hold, after: Hold, nowMs: number): void {
    state.heldNano += heldBy(after) - heldBy(before);
    after.claims.forEach((claim, index) => {
      const was = claimHeldBy(before, before.claims[index] ?? claim);
      state.counters.hold(claim, after, claimHeldBy(after, claim) - was, nowMs);
    });
    if (before.state === 'active' && (after.state !== 'active' || after.expiresAtMs !== before.expiresAtMs)) {
      this.expiries.remove(before.holdId, before.expiresAtMs);
      if (after.state === 'active') this.expiries.add(after, after.expiresAtMs);
    }
    if (after.state === 'active' || isUncharged(after)) state.holds.set(after.holdId, after);
    else this.close(state, after);
  }

  private close(state: TenantState, hold: Hold): void {
    state.holds.delete(hold.holdId);
    if (state.holds.size === 0) state.holds = NONE;
    this.tenantOfHold.delete(hold.holdId);
    if (hold.callDigest === null) return;
    state.byCall.delete(hold.callDigest);
    if (state.byCall.size === 0) state.byCall = NONE;
    // A hold that nobody was promised is a denial, and a denial is not remembered.
    if (hold.resolvedAtMs !== null && wasPromised(hold)) this.resolvedCalls.add(hold.callDigest, hold.resolvedAtMs);
  }

  private drop(tenantId: string): void {
    const state = this.tenants.get(tenantId);
    if (!state) return;
    for (const hold of state.holds.values()) {
      this.tenantOfHold.delete(hold.holdId);
      if (hold.state === 'active') this.expiries.remove(hold.holdId, hold.expiresAtMs);
    }
    this.tenants.delete(tenantId);
  }
}

function caseOf(state: TenantState, { rule, enforce, nowMs }: Pick<Case, 'rule' | 'enforce' | 'nowMs'>, candidates: Case['candidates']): Case {
  // Field by field: to spread a command of twice as many costs more than to judge it.
  return { candidates, rule, enforce, nowMs, fencedUntilMs: state.fencedUntilMs, grants: (lease) => state.leases.get(lease) };
}

/** What has to be granted before one of them may be taken; what is refused anyway needs nothing. */
function shortsOfChoices(choices: readonly Choice[], input: Case, read: ReadCounter): Short[] {
  // Most calls share nothing, and pay for no more than this look.
  if (!input.candidates.some(({ claims }) => claims.some(({ lease }) => lease !== undefined))) return [];
  const shorts = new Map<string, Short>();
  for (const choice of choices) {
    const candidate = choice.kind === 'taken' ? input.candidates[choice.index] : undefined;
    for (const short of candidate === undefined ? [] : shortsOf(candidate, input, read)) if (!shorts.has(short.lease)) shorts.set(short.lease, short);
  }
  return [...shorts.values()];
}

function viewOf(state: TenantState): WalletView {
  return { seq: state.seq, postedNano: state.postedNano, heldNano: state.heldNano };
}

function limitViews(state: TenantState, claims: readonly Claim[], nowMs: number): LimitView[] {
  return claims.map((claim) => {
    const { used, held } = state.counters.view(claim.counter, nowMs);
    return { claim, used, held };
  });
}

/** What an extension adds to what the hold took; limits it did not count for when it was asked are not its. */
function risingClaims(hold: Hold, claims: readonly Claim[]): Claim[] {
  const held = new Map(hold.claims.map((claim) => [claim.counter, claim.amount]));
  return claims.flatMap((claim) => {
    const amount = held.get(claim.counter);
    return amount === undefined || claim.amount <= amount ? [] : [{ ...claim, amount: claim.amount - amount }];
  });
}
