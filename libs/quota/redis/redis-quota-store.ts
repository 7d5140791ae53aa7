/**
 * Quota state in Redis or Valkey, shared by any number of processes. Every method is one script on the one server that has the tenant: a
 * single step, one trip, at a cost that depends on the number of claims alone. The scripts are the port of what memory/ does; both are held
 * to one conformance suite and compared answer by answer on random histories. What a server holds counts only under the epoch given to it.
 * @throws DomainError quota.store_away: nothing was promised; a promise whose answer came too late is taken back
 */
import { MINUTE_MS, newUuid, type Nano } from '#libs/kernel/index.js';
import type { Ending, Hold } from '../domain/hold.js';
import type { LeaseGrant } from '../domain/lease.js';
import type { Claim } from '../domain/limit.js';
import { newHold } from '../application/new-hold.js';
import {
  QuotaStore,
  type BalanceChange,
  type BookedBatch,
  type EndResult,
  type ExtendCommand,
  type ExtendResult,
  type LimitView,
  type LoadTickets,
  type LowerLease,
  type LowerResult,
  type ReserveCommand,
  type ReserveResult,
  type TenantSnapshot,
  type WalletView,
} from '../application/quota-store.js';
import {
  bookedArguments,
  extendArguments,
  grantArguments,
  integer,
  large,
  loadArguments,
  lowerArguments,
  readArguments,
  reserveArguments,
} from './arguments.js';
import type { RedisNode } from './redis-node.js';
import type { RedisNodes } from './redis-nodes.js';
import {
  figuresOf,
  holdOf,
  list,
  promisedOf,
  refusalOf,
  roomsOf,
  shortsOf,
  takenOf,
  text,
  viewsOf,
  walletOf,
  wouldOf,
  type Figures,
  type Reply,
} from './replies.js';
import { SCRIPTS, type Script } from './scripts.js';
import { tenantKeys } from './tenant-keys.js';
import { UnsureHolds } from './unsure-holds.js';

/** Longer than any read of a tenant from PostgreSQL takes. */
const TICKET_MS = 2 * MINUTE_MS;
/** Whose holds this process gave out lately, so that they are found by their id alone without a look into PostgreSQL. */
const MAX_LOCATED = 100_000;
const NOT_PROMISED = 'not_promised';
/** Holds told of in one step after their rows were written. */
const RECORDED_BATCH = 200;

export class RedisQuotaStore extends QuotaStore {
  private readonly located = new Map<string, string>();
  private readonly unsure: UnsureHolds;

  constructor(private readonly nodes: RedisNodes) {
    super();
    this.unsure = new UnsureHolds(async ({ tenantId, holdId, nowMs }) => {
      const result = await this.ended({ tenantId, holdId, ending: { to: 'released', resolution: NOT_PROMISED }, nowMs });
      return result.kind === 'ended' || result.kind === 'ended_before';
    });
  }

  override async reserve(command: ReserveCommand): Promise<ReserveResult> {
    const reply = list(await this.run(SCRIPTS.reserve, command.tenantId, command.nowMs, reserveArguments(command), (late) => this.takeBackLate(command, late)));
    const { tenantId, candidates } = command;
    const [asked] = candidates;
    const kind = text(reply[0]);
    switch (kind) {
      case 'held':
        return this.heldOf(command, reply);
      case 'refused':
        return {
          kind: 'refused',
          refusal: refusalOf(asked.claims, reply[1]),
          wallet: walletOf(reply[2]),
          rooms: roomsOf(reply[3]),
          limits: viewsOf(asked.claims, reply[4]),
        };
      case 'replayed': {
        const hold = holdOf(tenantId, reply[1]);
        const same = Math.max(
          0,
          candidates.findIndex(({ facts }) => facts.model === hold.facts?.model),
        );
        return { kind: 'replayed', hold, wallet: walletOf(reply[2]), limits: viewsOf((candidates[same] ?? asked).claims, list(reply[3])[same]) };
      }
      case 'short_of_lease':
        return { kind, shorts: shortsOf(reply[1]) };
      case 'above_ceiling':
        return { kind: 'above_ceiling', promisedNano: promisedOf(reply[1], reply[2]) + BigInt(text(reply[3])) };
      case 'already_resolved':
      case 'other_body':
      case 'stale_rules':
        return { kind };
      default:
        return { kind: 'unknown' };
    }
  }

  override async end(input: { tenantId: string; holdId: string; ending: Ending; nowMs: number }): Promise<EndResult> {
    const { tenantId, holdId, ending, nowMs } = input;
    try {
      return await this.ended(input);
    } catch (error) {
      // A hold that nobody was promised must not be charged when its time runs out.
      if (ending.resolution === NOT_PROMISED) this.unsure.add({ tenantId, holdId, nowMs });
      throw error;
    }
  }

  override async extend(command: ExtendCommand): Promise<ExtendResult> {
    const { tenantId, nowMs } = command;
    const reply = list(await this.run(SCRIPTS.extend, tenantId, nowMs, extendArguments(command)));
    if (reply[0] === 'refused') return { kind: 'refused', refusal: refusalOf(command.claims, reply[1]), wallet: walletOf(reply[2]) };
    if (reply[0] === 'short_of_lease') return { kind: 'short_of_lease', shorts: shortsOf(reply[1]) };
    if (reply[0] === 'above_ceiling') return { kind: 'above_ceiling', promisedNano: promisedOf(reply[1], reply[2]) + BigInt(text(reply[3])) };
    return endResult(tenantId, reply);
  }

  override async applyBalance({ tenantId, seq, postedNano }: BalanceChange): Promise<'applied' | 'old' | 'gap' | 'unknown'> {
    const reply = text(await this.run(SCRIPTS.applyBalance, tenantId, 0, [integer(seq), large(postedNano)]));
    return reply === 'applied' || reply === 'old' || reply === 'gap' ? reply : 'unknown';
  }

  override async applyBooked(batch: BookedBatch, nowMs: number): Promise<Hold[]> {
    return list(await this.run(SCRIPTS.applyBooked, batch.tenantId, nowMs, bookedArguments(batch))).map((hold) => holdOf(batch.tenantId, hold));
  }

  override async expire(nowMs: number, limit: number): Promise<Hold[]> {
    const ended: Hold[] = [];
    for (const node of this.nodes.all()) {
      const index = this.nodes.indexOf(node);
      if (node.epoch === null || index === undefined) continue;
      const due = await node.command(async (redis) => await redis.zrangebyscore(index, '-inf', nowMs, 'WITHSCORES', 'LIMIT', 0, limit));
      for (let at = 0; at + 1 < due.length && ended.length < limit; at += 2) {
        const tenantId = due[at] ?? '';
        const [known, holds, nextAt] = list(await this.run(SCRIPTS.expire, tenantId, nowMs, [String(limit - ended.length)]));
        await node.run(SCRIPTS.unindex, [index], [tenantId, due[at + 1] ?? '', known === 1 ? text(nextAt) : '']);
        if (known === 1) ended.push(...list(holds).map((hold) => holdOf(tenantId, hold)));
      }
    }
    return ended;
  }

  override async sweepSoon(tenantId: string, nowMs: number): Promise<void> {
    await this.note(tenantId, integer(nowMs));
  }

  override async beginLoad(tenantIds: readonly string[], nowMs: number): Promise<LoadTickets> {
    const tickets = new Map<string, string>();
    for (const node of new Set(tenantIds.map((tenantId) => this.nodes.of(tenantId)))) await node.confirm();
    for (const tenantId of tenantIds) {
      const ticket = text(await this.run(SCRIPTS.beginLoad, tenantId, nowMs, [newUuid(new Date(nowMs)), String(TICKET_MS)]));
      if (ticket !== '') tickets.set(tenantId, ticket);
    }
    return tickets;
  }

  override async load(snapshots: readonly TenantSnapshot[], nowMs: number, tickets?: LoadTickets): Promise<void> {
    const made =
      tickets ??
      (await this.beginLoad(
        snapshots.map(({ tenantId }) => tenantId),
        nowMs,
      ));
    for (const snapshot of snapshots) {
      const ticket = made.get(snapshot.tenantId);
      if (ticket === undefined) continue;
      const [kind, due] = list(await this.run(SCRIPTS.load, snapshot.tenantId, nowMs, loadArguments(snapshot, ticket)));
      if (kind === 'loaded') await this.note(snapshot.tenantId, due);
    }
  }

  override async raiseCeiling(tenantId: string, ceilingNano: Nano): Promise<void> {
    await this.run(SCRIPTS.raiseCeiling, tenantId, 0, [large(ceilingNano)]);
  }

  override async grant(tenantId: string, grants: readonly LeaseGrant[], nowMs: number): Promise<void> {
    await this.run(SCRIPTS.grant, tenantId, nowMs, grantArguments(grants));
  }

  override async lowerLease(input: LowerLease): Promise<LowerResult> {
    const [kind, granted, committed, booked] = list(await this.run(SCRIPTS.lowerLease, input.tenantId, input.nowMs, lowerArguments(input)));
    if (kind !== 'looked') return { kind: kind === 'newer' ? 'newer' : 'unknown' };
    return { kind, granted: BigInt(text(granted)), committed: BigInt(text(committed)), bookedSeq: BigInt(text(booked)) };
  }

  override async locate(holdId: string, tenantId?: string): Promise<Hold | null> {
    const owner = tenantId ?? this.located.get(holdId);
    if (owner === undefined) return null;
    const reply = list(await this.run(SCRIPTS.read, owner, 0, readArguments({ holdId })));
    return reply[0] === 'known' && reply[2] !== '' ? holdOf(owner, reply[2]) : null;
  }

  override async wallet(tenantId: string): Promise<(WalletView & { readonly promisedNano: Nano; readonly ceilingNano: Nano }) | 'unknown'> {
    const figures = await this.figures(tenantId);
    if (figures === 'unknown') return figures;
    const { seq, postedNano, heldNano, promisedNano, ceilingNano } = figures;
    return { seq, postedNano, heldNano, promisedNano, ceilingNano };
  }

  override async recordedNano(tenantId: string, writtenNano: Nano): Promise<Nano> {
    const figures = await this.figures(tenantId);
    if (figures === 'unknown') return 0n;
    const recorded = figures.promisedNano - figures.unrecordedNano;
    return recorded < writtenNano ? recorded : writtenNano;
  }

  override async recorded(holds: readonly Hold[]): Promise<void> {
    const byTenant = new Map<string, Hold[]>();
    for (const hold of holds) if (hold.state === 'active') byTenant.set(hold.tenantId, [...(byTenant.get(hold.tenantId) ?? []), hold]);
    for (const [tenantId, own] of byTenant) {
      for (let start = 0; start < own.length; start += RECORDED_BATCH) {
        const args = own.slice(start, start + RECORDED_BATCH).flatMap((hold) => [hold.holdId, integer(hold.amountNano)]);
        await this.run(SCRIPTS.recorded, tenantId, 0, args);
      }
    }
  }

  override async limits(input: { tenantId: string; claims: readonly Claim[]; rulesRevision: number; nowMs: number }): Promise<readonly LimitView[] | null> {
    const reply = list(await this.run(SCRIPTS.read, input.tenantId, input.nowMs, readArguments(input)));
    return reply[0] === 'known' && reply[3] !== '' ? viewsOf(input.claims, reply[3]) : null;
  }

  /** Nothing to do: what a server that was lost had counts under no epoch any more. */
  override async forgetAll(): Promise<void> {}

  override async forget(tenantId: string): Promise<void> {
    await this.run(SCRIPTS.forget, tenantId, 0, []);
  }

  private async ended({ tenantId, holdId, ending, nowMs }: { tenantId: string; holdId: string; ending: Ending; nowMs: number }): Promise<EndResult> {
    return endResult(tenantId, list(await this.run(SCRIPTS.end, tenantId, nowMs, [holdId, ending.to, ending.resolution])));
  }

  private async figures(tenantId: string): Promise<Figures | 'unknown'> {
    const reply = list(await this.run(SCRIPTS.read, tenantId, 0, readArguments({})));
    return reply[0] === 'known' ? figuresOf(reply[1]) : 'unknown';
  }

  private async run(script: Script, tenantId: string, nowMs: number, args: readonly string[], onLate?: (reply: Reply | undefined) => void): Promise<Reply> {
    const node = this.nodes.of(tenantId);
    return await node.run(script, tenantKeys(tenantId).keys, [String(node.epoch ?? ''), integer(nowMs), ...args], onLate);
  }

  private heldOf(command: ReserveCommand, reply: readonly Reply[]): ReserveResult {
    const [, index, why, claim, would, wallet, views, covered, due] = reply;
    const { claims } = command.candidates[0];
    const taken = takenOf(claims, [index ?? null, why ?? null, claim ?? null]);
    const candidate = command.candidates[taken.index] ?? command.candidates[0];
    const hold = newHold(command, candidate);
    this.remember(hold);
    void this.note(command.tenantId, due).catch(() => undefined);
    return {
      kind: 'held',
      hold,
      ...taken,
      would: wouldOf(claims, would),
      wallet: walletOf(wallet),
      limits: viewsOf(candidate.claims, views),
      coveredNano: BigInt(text(covered)),
    };
  }

  private remember({ holdId, tenantId }: Hold): void {
    this.located.set(holdId, tenantId);
    if (this.located.size <= MAX_LOCATED) return;
    const oldest = this.located.keys().next().value;
    if (oldest !== undefined) this.located.delete(oldest);
  }

  /** Lists the tenant for the sweep. Where this fails, rows past their end lead the sweep to it. */
  private async note(tenantId: string, due: Reply | undefined): Promise<void> {
    if (due === '' || due === undefined) return;
    const node: RedisNode = this.nodes.of(tenantId);
    const index = this.nodes.indexOf(node);
    if (index !== undefined) await node.command(async (redis) => await redis.zadd(index, 'LT', Number(text(due)), tenantId));
  }

  /** The caller has gone by its tenant's policy: nobody was promised this hold. */
  private takeBackLate({ tenantId, holdId, nowMs }: ReserveCommand, late: Reply | undefined): void {
    if (late !== undefined && list(late)[0] !== 'held') return;
    this.unsure.add({ tenantId, holdId, nowMs });
  }
}

function endResult(tenantId: string, reply: readonly Reply[]): EndResult {
  switch (text(reply[0])) {
    case 'ended':
      return { kind: 'ended', hold: holdOf(tenantId, reply[1]), wallet: walletOf(reply[2]) };
    case 'ended_before':
      return { kind: 'ended_before', hold: holdOf(tenantId, reply[1]) };
    case 'not_found':
      return { kind: 'not_found' };
    default:
      return { kind: 'unknown' };
  }
}
