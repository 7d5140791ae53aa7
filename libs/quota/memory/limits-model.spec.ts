import fc from 'fast-check';
import type { ReserveResult, TenantSnapshot } from '../application/quota-store.js';
import type { Claim, CounterDelta, Window } from '../domain/limit.js';
import { NaiveLimits, type PaperAsk, type PaperCall, type PaperLimit } from '../testing/naive-limits.js';
import { FACTS } from '../testing/quota-world.js';
import { MemoryQuotaStore } from './memory-quota-store.js';

const TENANT = 'acme';
const TTL_MS = 15 * 60_000;
const HOUR_MS = 3_600_000;
const HISTORIES = 300;
const START = Date.parse('2026-11-22T11:55:00Z');

const LIMITS: readonly PaperLimit[] = [
  { name: 'user-hour', counts: 'usd', perUser: true, limit: 1_000n, downgradeAt: 800n, enforced: true, over: { fixed: HOUR_MS } },
  { name: 'tokens-day', counts: 'tokens', perUser: false, limit: 9_000n, downgradeAt: null, enforced: true, over: { fixed: 24 * HOUR_MS } },
  { name: 'calls-minute', counts: 'requests', perUser: false, limit: 9n, downgradeAt: null, enforced: true, over: { part: 1_000 } },
  { name: 'running', counts: 'concurrent', perUser: true, limit: 4n, downgradeAt: null, enforced: true, over: { running: 120_000 } },
  { name: 'usd-rolling', counts: 'usd', perUser: false, limit: 1_600n, downgradeAt: null, enforced: true, over: { part: 60_000 } },
  { name: 'shadow', counts: 'usd', perUser: true, limit: 500n, downgradeAt: 300n, enforced: false, over: { fixed: HOUR_MS } },
];

class Violation extends Error {
  constructor(
    readonly invariant: string,
    message: string,
  ) {
    super(`${invariant}: ${message}`);
  }
}
function must(invariant: string, holds: boolean, message: () => string): void {
  if (!holds) throw new Violation(invariant, message());
}

/** The names that the application would make; periods are part of them. */
function counterOf(limit: PaperLimit, user: string, at: number): string {
  const period = 'fixed' in limit.over ? Math.floor(at / limit.over.fixed) : 'always';
  return `${limit.name}.${limit.perUser ? user : 'all'}.${period}`;
}

function windowOf({ over }: PaperLimit, at: number): Window {
  if ('fixed' in over) return { kind: 'fixed', endsAtMs: (Math.floor(at / over.fixed) + 1) * over.fixed };
  return 'part' in over ? { kind: 'rolling', bucketMs: over.part } : { kind: 'concurrent', ttlMs: over.running };
}

class World {
  readonly paper = new NaiveLimits(LIMITS);
  store = new MemoryQuotaStore();
  nowMs = START;
  balanceSeq = 0n;
  bookedSeq = 0n;
  /** The last batch, for a second delivery. */
  last: (() => Promise<unknown>) | null = null;
  private ids = 0;

  claims(ask: PaperAsk, at: number): Claim[] {
    return LIMITS.map((limit) => ({
      budgetId: limit.name,
      kind: 'budget' as const,
      counter: counterOf(limit, ask.user, at),
      metric: limit.counts,
      window: windowOf(limit, at),
      rate: limit.name === 'calls-minute',
      limit: limit.limit,
      amount: this.paper.takes(limit, ask),
      downgradeAt: limit.downgradeAt,
      blockAt: limit.limit,
      enforced: limit.enforced,
      silent: false,
    }));
  }

  async ask(asks: readonly [PaperAsk, ...PaperAsk[]]): Promise<ReserveResult> {
    const toCandidate = (ask: PaperAsk) => ({ amountNano: ask.usd, claims: this.claims(ask, this.nowMs), facts: { ...FACTS, userId: ask.user } });
    const [first, ...others] = asks;
    this.ids += 1;
    return await this.store.reserve({
      tenantId: TENANT,
      holdId: `h${this.ids}`,
      candidates: [toCandidate(first), ...others.map(toCandidate)],
      rulesRevision: 0,
      nowMs: this.nowMs,
      ttlMs: TTL_MS,
      callDigest: null,
      bodyHash: null,
      policy: 'release',
      rule: { creditLimitNano: 0n },
      enforce: true,
      strict: true,
    });
  }

  async credit(amount: bigint): Promise<void> {
    this.paper.balance += amount;
    this.balanceSeq += 1n;
    await this.store.applyBalance({ tenantId: TENANT, seq: this.balanceSeq, postedNano: this.paper.balance });
  }

  async book(call: PaperCall, usd: bigint, tokens: bigint, closes: boolean): Promise<void> {
    await this.credit(-usd);
    this.bookedSeq += 1n;
    const requests = closes ? 1n : 0n;
    this.paper.bookings.push({ user: call.user, at: call.askedAt, usd, tokens, requests });
    const amounts = { usd, tokens, requests, concurrent: 0n };
    const counters = LIMITS.flatMap((limit): CounterDelta[] => {
      const window = windowOf(limit, call.askedAt);
      return window.kind === 'concurrent'
        ? []
        : [{ counter: counterOf(limit, call.user, call.askedAt), window, atMs: call.askedAt, amount: amounts[limit.counts] }];
    });
    const captures = [{ holdId: call.id, callDigest: null, signedNano: usd, signedTokens: tokens, signedRequests: requests, closes, provisional: false }];
    const { bookedSeq: seq, nowMs } = this;
    this.last = async () => await this.store.applyBooked({ tenantId: TENANT, seq, captures, counters }, nowMs);
    await this.last();
  }

  /** Everything in memory is gone; what PostgreSQL would tell is taken from the paper. */
  async reload(fencedUntilMs: number): Promise<void> {
    const { paper, nowMs } = this;
    paper.fencedUntil = fencedUntilMs;
    const holds: TenantSnapshot['holds'] = paper.calls
      .filter((call) => call.open)
      .map((call) => ({
        holdId: call.id,
        tenantId: TENANT,
        kind: 'call',
        state: 'active',
        resolution: null,
        amountNano: call.usd,
        capturedNano: call.takenUsd,
        capturedTokens: call.takenTokens,
        capturedRequests: call.takenRequests,
        claims: this.claims(call, call.askedAt),
        callDigest: null,
        bodyHash: null,
        policy: 'release',
        createdAtMs: call.askedAt,
        expiresAtMs: call.expires,
        resolvedAtMs: null,
        facts: { ...FACTS, userId: call.user },
      }));
    const counters = paper.bookings.flatMap(({ user, at, ...amounts }) =>
      LIMITS.flatMap((limit): CounterDelta[] => {
        const window = windowOf(limit, at);
        if (limit.counts === 'concurrent' || window.kind === 'concurrent') return [];
        return [{ counter: counterOf(limit, user, at), window, atMs: at, amount: amounts[limit.counts] }];
      }),
    );
    this.store = new MemoryQuotaStore();
    const wallet = { seq: this.balanceSeq, postedNano: paper.balance, promisedNano: 0n, ceilingNano: 0n };
    await this.store.load(
      [{ tenantId: TENANT, ...wallet, holds, recentCalls: [], bookedSeq: this.bookedSeq, rulesRevision: 0, counters, fencedUntilMs }],
      nowMs,
    );
  }
}

interface Step {
  readonly name: string;
  readonly run: (world: World) => Promise<void>;
}
const pickOf = (world: World, pick: number): PaperCall | undefined => {
  const open = world.paper.calls.filter((call) => call.open);
  return open[pick % Math.max(1, open.length)];
};

const authorize = fc
  .record({
    user: fc.constantFrom('u1', 'u2'),
    usd: fc.constantFrom(0n, 40n, 90n, 200n, 450n),
    tokens: fc.constantFrom(10n, 400n, 2_000n),
    ladder: fc.integer({ min: 0, max: 2 }),
  })
  .map(({ user, usd, tokens, ladder }): Step => ({
    name: ladder === 0 ? 'authorize' : 'authorize-ladder',
    run: async (world) => {
      const asks = [
        { user, usd, tokens },
        { user, usd: usd / 4n, tokens: tokens / 2n },
        { user, usd: 0n, tokens: tokens / 2n },
      ].slice(0, ladder + 1) as [PaperAsk, ...PaperAsk[]];
      const { paper, nowMs } = world;
      const expected = paper.choose(asks, nowMs, false);
      const would = paper.choose(asks, nowMs, true);
      const result = await world.ask(asks);
      if (result.kind === 'refused') return checkRefusal(world, result, asks[0], expected);
      must(
        'H4',
        result.kind === 'held' && result.index === expected,
        () => `took ${result.kind === 'held' ? result.index : result.kind} instead of ${expected}`,
      );
      if (result.kind !== 'held') return;
      const told = result.would === null ? result.index : result.would.kind === 'taken' ? result.would.index : null;
      must('H4', told === would, () => `would: ${told} instead of ${would}`);
      const taken = asks[result.index] ?? asks[0];
      paper.calls.push({
        id: result.hold.holdId,
        ...taken,
        askedAt: nowMs,
        takenUsd: 0n,
        takenTokens: 0n,
        takenRequests: 0n,
        expires: nowMs + TTL_MS,
        open: true,
      });
      for (const limit of LIMITS.filter(({ enforced }) => enforced)) {
        const sum = paper.used(limit, user, nowMs) + paper.held(limit, user, nowMs);
        must('H1', sum <= limit.limit || paper.takes(limit, taken) === 0n, () => `${limit.name} stands at ${sum} right after an allow`);
      }
    },
  }));

let exactRetries = 0;

function checkRefusal(world: World, { refusal }: Extract<ReserveResult, { kind: 'refused' }>, ask: PaperAsk, expected: number | null): void {
  const { paper, nowMs } = world;
  must('H4', expected === null, () => `refused (${refusal.code} ${refusal.claim?.budgetId ?? 'wallet'}) what fits as ${expected}`);
  const names = paper.refusing(ask, nowMs, false);
  must('H4', names.includes(refusal.claim?.budgetId ?? 'wallet'), () => `${refusal.claim?.budgetId ?? 'wallet'} is told to bind, ${names.join(', ')} do`);
  if (!refusal.exact || refusal.retryAfterMs === null) return;
  exactRetries += 1;
  // The one that is told binds until then and no longer; nothing else is done meanwhile, and no hold ends.
  const binds = (at: number): boolean => paper.refusing(ask, at, false).includes(refusal.claim?.budgetId ?? '');
  must('retry', binds(nowMs + refusal.retryAfterMs - 1), () => `${refusal.claim?.budgetId} admits before ${refusal.retryAfterMs} ms`);
  must('retry', !binds(nowMs + refusal.retryAfterMs), () => `${refusal.claim?.budgetId} refuses after ${refusal.retryAfterMs} ms`);
}

const event = fc.record({ pick: fc.nat(), percent: fc.constantFrom(0n, 30n, 100n, 150n), closes: fc.boolean() }).map(({ pick, percent, closes }): Step => ({
  name: closes ? 'success' : 'attempt',
  run: async (world) => {
    const call = pickOf(world, pick);
    if (!call) return;
    const [usd, tokens] = [(call.usd * percent) / 100n, (call.tokens * percent) / 100n];
    await world.book(call, usd, tokens, closes);
    call.takenUsd += usd;
    call.takenTokens += tokens;
    if (closes) call.takenRequests += 1n;
    if (closes) call.open = false;
  },
}));

const release = fc.nat().map((pick): Step => ({
  name: 'release',
  run: async (world) => {
    const call = pickOf(world, pick);
    if (!call) return;
    const result = await world.store.end({ tenantId: TENANT, holdId: call.id, ending: { to: 'released', resolution: 'release' }, nowMs: world.nowMs });
    must('H3', result.kind === 'ended', () => `release: ${result.kind}`);
    call.open = false;
  },
}));

const extend = fc.record({ pick: fc.nat(), usd: fc.constantFrom(0n, 50n, 300n) }).map(({ pick, usd }): Step => ({
  name: 'extend',
  run: async (world) => {
    const call = pickOf(world, pick);
    if (!call) return;
    const whole = { user: call.user, usd: call.usd + usd, tokens: call.tokens };
    const { paper, nowMs } = world;
    const rise = { user: call.user, usd, tokens: 0n };
    // It counts where the call was asked: a period that is over is only added to.
    const refusing = LIMITS.filter((limit) => limit.enforced && limit.counts === 'usd' && usd > 0n && paper.counts(limit, call.askedAt, nowMs)).some(
      (limit) => {
        const top = nowMs < paper.fencedUntil ? limit.limit - limit.limit / 8n : limit.limit;
        return paper.used(limit, call.user, nowMs) + paper.held(limit, call.user, nowMs) + usd > top;
      },
    );
    const past = LIMITS.some((limit) => !paper.counts(limit, call.askedAt, nowMs) && limit.counts === 'usd');
    const walletRefuses = rise.usd > 0n && rise.usd > paper.balance - paper.walletHeld();
    const result = await world.store.extend({
      tenantId: TENANT,
      holdId: call.id,
      amountNano: whole.usd,
      expiresAtMs: call.expires,
      nowMs,
      facts: FACTS,
      claims: world.claims(whole, call.askedAt),
      rule: { creditLimitNano: 0n },
      enforce: true,
    });
    // The ceiling is zero here: a rise that fits is asked to be committed first, and changes nothing.
    if (!past) must('H4', (result.kind === 'refused') === (refusing || walletRefuses), () => `extend by ${usd}: ${result.kind}`);
    must('H4', result.kind !== 'ended' || usd === 0n, () => 'a rise above the ceiling was given');
  },
}));

const pass = fc.constantFrom(1, 999, 1_000, 30_000, 59_999, 61_000, 120_000, 7 * 60_000, HOUR_MS).map((ms): Step => ({
  name: ms <= 1_000 ? 'pass-ms' : 'pass',
  run: async (world) => void (world.nowMs += ms),
}));

const expire: Step = {
  name: 'expire',
  run: async (world) => {
    await world.store.expire(world.nowMs, 1_000);
    const due = world.paper.calls.filter((call) => call.open && Math.floor(call.expires / 250) < Math.floor(world.nowMs / 250));
    for (const call of due) call.open = false;
  },
};
const credit: Step = { name: 'credit', run: async (world) => await world.credit(3_000n) };
const again: Step = { name: 'deliver-twice', run: async (world) => void (await world.last?.()) };
const reload = fc
  .boolean()
  .map((fenced): Step => ({ name: fenced ? 'crash' : 'reload', run: async (world) => await world.reload(fenced ? world.nowMs + TTL_MS : 0) }));

async function compare(world: World): Promise<void> {
  const { paper, nowMs } = world;
  const wallet = await world.store.wallet(TENANT);
  must('H1', wallet !== 'unknown' && wallet.heldNano === paper.walletHeld() && wallet.postedNano === paper.balance, () => 'the wallet differs');
  for (const user of ['u1', 'u2']) {
    const claims = world.claims({ user, usd: 1n, tokens: 1n }, nowMs);
    const views = (await world.store.limits({ tenantId: TENANT, claims, rulesRevision: 0, nowMs })) ?? [];
    LIMITS.forEach((limit, index) => {
      const [used, held] = [paper.used(limit, user, nowMs), paper.held(limit, user, nowMs)];
      const top = limit.limit + paper.beyond(limit, user, nowMs);
      must(
        'H2',
        !limit.enforced || used + held <= top,
        () => `${limit.name} of ${user} stands at ${used + held}, and ${top} is all that was allowed or taken beyond`,
      );
      must(
        'H8',
        views[index]?.used === used && views[index].held === held,
        () => `${limit.name} of ${user}: ${views[index]?.used}/${views[index]?.held}, paper ${used}/${held}`,
      );
    });
  }
}

async function drain(world: World): Promise<void> {
  world.nowMs += TTL_MS + 1_000;
  await expire.run(world);
  await compare(world);
  must('H3', world.paper.calls.every((call) => !call.open) && world.paper.walletHeld() === 0n, () => 'something is held when nothing runs');
}

const steps = fc.oneof(
  { weight: 14, arbitrary: authorize },
  { weight: 6, arbitrary: event },
  { weight: 3, arbitrary: release },
  { weight: 2, arbitrary: extend },
  { weight: 5, arbitrary: pass },
  { weight: 2, arbitrary: fc.constant(expire) },
  { weight: 2, arbitrary: fc.constant(credit) },
  { weight: 1, arbitrary: fc.constant(again) },
  { weight: 2, arbitrary: reload },
);

describe('limits of the memory store against a naive oracle', () => {
  const pairs = new Map<string, number>();
  let failure: { invariant: string; report: string } | null = null;

  beforeAll(async () => {
    const property = fc.asyncProperty(fc.array(steps, { minLength: 50, maxLength: 120, size: 'max' }), async (list) => {
      const world = new World();
      await world.reload(0);
      await world.credit(4_000n);
      let last = 'start';
      for (const step of list) {
        await step.run(world);
        await compare(world);
        pairs.set(`${last} ${step.name}`, (pairs.get(`${last} ${step.name}`) ?? 0) + 1);
        last = step.name;
      }
      await drain(world);
    });
    const result = await fc.check(property, { numRuns: HISTORIES });
    console.log(`seed ${result.seed}`);
    if (!result.failed) return;
    const error = result.errorInstance;
    const names = result.counterexample?.[0].map((step) => step.name).join(' ') ?? '';
    failure = {
      invariant: error instanceof Violation ? error.invariant : 'none',
      report: `seed ${result.seed}, path ${result.counterexamplePath}: ${String(error)}\n${names}`,
    };
  }, 120_000);

  it.each([
    ['H1', 'right after an allow no limit that took it is passed, and the wallet is what the paper says'],
    ['H2', 'what is used and held stays within every limit, but for what events took beyond their holds'],
    ['H3', 'what limits and wallet hold returns to zero when nothing runs'],
    ['H4', 'the first candidate that fits every limit and the wallet is taken whole, or nothing'],
    ['H8', 'every counter is what its own period took, whenever calls end, also after a rebuild'],
    ['retry', 'waiting as long as told admits where nothing else happens, and one millisecond less does not'],
    ['none', 'and nothing throws'],
  ])('%s %s', (invariant) => {
    expect(failure?.invariant === invariant ? failure.report : null).toBeNull();
  });

  it('went through most pairs of commands', () => {
    const names = [...new Set([...pairs.keys()].map((pair) => pair.split(' ')[1] ?? ''))];
    const covered = [...pairs.keys()].filter((pair) => !pair.startsWith('start ')).length;
    console.log(`command pairs: ${covered} of ${names.length ** 2} (${names.join(', ')})`);
    expect(covered).toBeGreaterThan(0.95 * names.length ** 2);
    expect(exactRetries).toBeGreaterThan(HISTORIES);
  });
});
