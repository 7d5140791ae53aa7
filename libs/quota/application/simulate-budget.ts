/**
 * Tries a draft budget on what was really asked and booked, and writes nothing: the database itself refuses to in this transaction. The past is
 * read in one snapshot, page by page; a history that is too long or takes too long is cut, and the answer says where. What a cut-off run would
 * have gone on with is lost: whoever goes on from there begins with what was really spent.
 */
import { setImmediate as oneTurn } from 'node:timers/promises';
import { DAY_MS, DomainError, HOUR_MS, type Clock, type Nano } from '#libs/kernel/index.js';
import type { SpendHistory } from '#libs/metering/index.js';
import type { Database, Sql } from '#libs/platform/postgres/database.js';
import type { PriceBook } from '#libs/pricing/index.js';
import type { Tenant, TenantDirectory } from '#libs/tenancy/index.js';
import type { Budget, BudgetSettings } from '../domain/budget.js';
import type { ReasonCode } from '../domain/decision.js';
import { bucketMsOf, CONCURRENT_TTL_MS, oldestBucket } from '../domain/limit.js';
import { RuleSet } from '../domain/match-budgets.js';
import { ladderFor, type Ladders } from '../domain/route.js';
import { SimulationTally, type BlockedCall, type SimulatedCounter } from '../domain/simulation.js';
import type { EstimateCall } from './estimate-call.js';
import type { HoldHistory } from './hold-history.js';
import { pastSteps, type NextRow } from './past-steps.js';
import type { PlanCandidates } from './plan-candidates.js';
import { assertSound } from './put-budget.js';
import type { QuotaStore } from './quota-store.js';
import type { RuleBook } from './rule-book.js';
import { SimulatedRun } from './simulated-run.js';

export interface SimulationBounds {
  /** Holds and events that are read at most. */
  readonly maxRows: number;
  readonly pageSize: number;
  readonly deadlineMs: number;
  /** How many run side by side in a process; each holds a connection. */
  readonly atOnce: number;
}

/** Half a million rows are some 80 MB of what is remembered of their calls; in twenty seconds some 200,000 calls are played on a machine that has little else to do. */
export const SIMULATION_BOUNDS: SimulationBounds = { maxRows: 500_000, pageSize: 1_000, deadlineMs: 20_000, atOnce: 2 };

export interface SimulateInput {
  readonly tenantId: string;
  readonly settings: BudgetSettings;
  /** By default seven days before `to`. */
  readonly from: Date | undefined;
  /** By default now. */
  readonly to: Date | undefined;
  /** Instead of the ladders that count now. */
  readonly ladders: Ladders | undefined;
  /** How many blocked calls are told one by one. */
  readonly listed: number;
}

export interface Simulation {
  readonly budget: Budget;
  readonly from: Date;
  readonly to: Date;
  readonly asOf: Date;
  readonly calls: { readonly all: number; readonly allowed: number; readonly downgraded: number; readonly shortened: number; readonly blocked: number };
  readonly blockedBy: ReadonlyMap<ReasonCode, number>;
  /** What the calls cost; what those that would have run would have; what the blocked ones cost. */
  readonly dollars: { readonly recordedNano: Nano; readonly allowedNano: Nano; readonly blockedNano: Nano };
  readonly counters: readonly SimulatedCounter[];
  readonly blockedCalls: readonly BlockedCall[];
  readonly history: {
    /** Calls of which only the report is known. */
    readonly reportedOnly: number;
    /** Calls of which nobody told what they cost. */
    readonly unreported: number;
    /** Calls whose cost on another model had to be assumed. */
    readonly assumed: number;
    /** Calls that were refused then: what they would have cost is not known, and they are not looked at. */
    readonly refusedThen: number;
  };
  readonly cut: { readonly reason: 'rows' | 'deadline'; readonly nextFrom: Date } | null;
}

const DEFAULT_DAYS = 7;
/** Older holds and decisions are forgotten. */
const MOST_DAYS = 35;
/** Bookings of calls that began before `to` come for a while after it. */
const LATE_MS = DAY_MS;
const TOLD_COUNTERS = 50;
/** Between two turns of the event loop decisions of other requests wait. */
const STEPS_PER_TURN = 50;

export class SimulateBudget {
  private running = 0;

  constructor(
    private readonly database: Pick<Database, 'transaction'>,
    private readonly past: { readonly holds: HoldHistory; readonly spend: SpendHistory },
    private readonly tenants: TenantDirectory,
    private readonly rules: RuleBook,
    private readonly tools: { readonly plans: PlanCandidates; readonly estimate: EstimateCall; readonly prices: PriceBook },
    private readonly makeStore: () => QuotaStore,
    private readonly clock: Clock,
    private readonly bounds: SimulationBounds,
    private readonly monotonicNow: () => number = () => performance.now(),
  ) {}

  /** @throws DomainError tenant.not_found, budget.invalid, budget.simulation_too_long, budget.simulation_busy, storage.unavailable */
  async execute(input: SimulateInput): Promise<Simulation> {
    const tenant = await this.tenants.find(input.tenantId);
    if (tenant === null) throw new DomainError({ code: 'tenant.not_found', kind: 'not_found', publicMessage: 'there is no such tenant' });
    assertSound(tenant.tenantId, input.settings);
    const asOf = this.clock.now();
    const period = periodOf(input, asOf);
    if (this.running >= this.bounds.atOnce)
      throw new DomainError({ code: 'budget.simulation_busy', kind: 'unavailable', publicMessage: 'other simulations are running', retryAfterMs: 1_000 });
    this.running += 1;
    try {
      return await this.run(input, tenant, period, asOf);
    } finally {
      this.running -= 1;
    }
  }

  private async run(input: SimulateInput, tenant: Tenant, { from, to }: { from: Date; to: Date }, asOf: Date): Promise<Simulation> {
    const { ladders } = input;
    const ladder = ladders === undefined ? (await this.rules.find(tenant.tenantId)).ladder : (model: string) => ladderFor(ladders, NO_LADDERS, model);
    const budget = draftOf(tenant, input.settings, from);
    const deadline = this.monotonicNow() + this.bounds.deadlineMs;
    return await this.database.transaction(async (tx) => {
      const known = { tenantId: tenant.tenantId, fromMs: Math.max(0, countsSince(budget, from.getTime()) - HOUR_MS), toMs: to.getTime() };
      const tally = new SimulationTally(budget.thresholds, { blocked: input.listed, counters: TOLD_COUNTERS });
      const setup = { tenant: { ...tenant, enforcement: 'enforce' } as const, budget, ladder, fromMs: from.getTime(), knownFromMs: known.fromMs };
      const run = new SimulatedRun({ ...this.tools, store: this.makeStore() }, { ...setup, downgraded: await this.past.holds.downgraded(tx, known) }, tally);
      const cut = await this.play(tx, run, known, deadline);
      if (cut !== null && run.nowMs <= from.getTime()) throw tooLong(this.bounds.maxRows);
      const refusedThen = await this.past.holds.refused(tx, { ...known, fromMs: from.getTime() });
      const { calls, allowed, downgraded, shortened, blocked, blockedBy, recordedNano, spentNano, blockedNano } = tally;
      return {
        budget,
        from,
        to,
        asOf,
        calls: { all: calls, allowed, downgraded, shortened, blocked },
        blockedBy,
        dollars: { recordedNano, allowedNano: spentNano, blockedNano },
        counters: tally.top(),
        blockedCalls: tally.listed,
        history: { reportedOnly: run.reportedOnly, unreported: run.unreported, assumed: run.assumed, refusedThen },
        cut: cut === null ? null : { reason: cut, nextFrom: new Date(run.nowMs) },
      };
    }, 'REPEATABLE READ, READ ONLY');
  }

  private async play(
    tx: Sql,
    run: SimulatedRun,
    known: { tenantId: string; fromMs: number; toMs: number },
    deadline: number,
  ): Promise<'rows' | 'deadline' | null> {
    const { maxRows, pageSize } = this.bounds;
    let rows = 0;
    const counted =
      <Row>(next: NextRow<Row>): NextRow<Row> =>
      async () => {
        const row = await next();
        if (row !== null) rows += 1;
        return row;
      };
    const spend = { from: new Date(known.fromMs), to: new Date(known.toMs + LATE_MS), atMost: maxRows + 1 };
    const nextEvents = await this.past.spend.open(tx, { tenantId: known.tenantId, ...spend, pageSize });
    const holds = rowByRow(
      async (last: { readonly holdId: string } | null) => await this.past.holds.page(tx, { ...known, after: last?.holdId ?? null, limit: pageSize }),
    );
    await run.begin();
    const steps = pastSteps(counted(holds), counted(rowByRow(nextEvents)), known.toMs);
    for (let taken = 1, next = await steps.next(); next.done !== true; taken += 1, next = await steps.next()) {
      if (rows > maxRows) return 'rows';
      await run.take(next.value);
      if (taken % STEPS_PER_TURN !== 0) continue;
      await oneTurn();
      if (this.monotonicNow() > deadline) return 'deadline';
    }
    return null;
  }
}

const NO_LADDERS: Ladders = new Map();

/** Rows of pages that follow each other; `next` is told the last row of the page before. */
function rowByRow<Row>(next: (last: Row | null) => Promise<readonly Row[]>): NextRow<Row> {
  let page: readonly Row[] | null = null;
  let at = 0;
  return async () => {
    if (page === null || (at >= page.length && page.length > 0)) {
      page = await next(page?.at(-1) ?? null);
      at = 0;
    }
    const row = page[at] ?? null;
    at += 1;
    return row;
  };
}

/** @throws DomainError request.invalid that names the field and its rule */
function periodOf(input: SimulateInput, now: Date): { from: Date; to: Date } {
  const to = input.to === undefined || input.to > now ? now : input.to;
  const from = input.from ?? new Date(to.getTime() - DEFAULT_DAYS * DAY_MS);
  const errors: { path: string; message: string }[] = [];
  if (from.getTime() < now.getTime() - MOST_DAYS * DAY_MS) errors.push({ path: 'from', message: `must be at most ${MOST_DAYS} days ago` });
  if (from >= to) errors.push({ path: 'from', message: 'must be before `to`, and before now' });
  if (errors.length > 0) throw new DomainError({ code: 'budget.invalid', kind: 'invalid', publicMessage: 'nothing was simulated', errors });
  return { from, to };
}

/** As if it had been set at `from`. */
function draftOf(tenant: Tenant, settings: BudgetSettings, from: Date): Budget {
  const countsFromMs = settings.countFrom === 'now' ? from.getTime() : null;
  const names = { tenantId: tenant.tenantId, budgetId: 'draft', version: 1, timezone: tenant.timezone };
  return { ...settings, ...names, countsFromMs, paused: false, warming: false, createdAt: from, updatedAt: from };
}

/** The earliest time at which something was asked that still counts at `fromMs`. */
function countsSince(budget: Budget, fromMs: number): number {
  if (budget.countsFromMs !== null) return fromMs;
  if (budget.period.kind === 'rolling') return Math.min(oldestBucket(fromMs, bucketMsOf(budget.period.seconds)), fromMs - CONCURRENT_TTL_MS);
  return new RuleSet([]).spanAt(budget, fromMs)?.startsAtMs ?? fromMs;
}

function tooLong(maxRows: number): DomainError {
  return new DomainError({
    code: 'budget.simulation_too_long',
    kind: 'invalid',
    publicMessage: 'nothing was simulated',
    errors: [
      { path: 'from', message: `must be nearer to the start of the budget's period: more than ${maxRows} rows, or too many to read in time, lie before it` },
    ],
  });
}
