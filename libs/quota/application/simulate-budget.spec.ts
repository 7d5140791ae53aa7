import fc from 'fast-check';
import { DAY_MS, HOUR_MS, MINUTE_MS, newUuid } from '#libs/kernel/index.js';
import { DEFAULT_THRESHOLDS, type Budget, type BudgetSettings } from '../domain/budget.js';
import type { Ladders } from '../domain/route.js';
import { budgetOf } from '../testing/budget-builder.js';
import { costOf, enforce, LADDER, PAST_START, pastOf, simulatorOf, type PaperCall } from '../testing/past-world.js';

const TENANT = 'acme';
const RUNS = 300;
const AFTERWARDS = new Date(PAST_START + DAY_MS);
const ZONE = 'Asia/Kolkata';
const BLOCK_ONLY = [{ percent: 100, action: 'block', appliesTo: 'all' }] as const;
/** Nothing runs instead of anything. */
const AS_THEY_ARE: Ladders = new Map();
const NO_LIMITS = { usdNano: null, tokens: null, requests: null, concurrent: null };

const drawnCall = fc.record({
  user: fc.constantFrom('u1', 'u2'),
  gapMs: fc.constantFrom(0, 1, 400, 5_000, 40_000, 11 * MINUTE_MS),
  input: fc.integer({ min: 0, max: 50 }),
  mostOutput: fc.integer({ min: 1, max: 100 }),
  // Above what was asked for: what is booked may pass a limit.
  percent: fc.constantFrom(0, 30, 100, 140),
  end: fc.constantFrom('booked', 'booked', 'booked', 'released', 'never'),
  lastsMs: fc.constantFrom(1, 300, 20_000, 3 * MINUTE_MS, 16 * MINUTE_MS, 70 * MINUTE_MS),
  byCallId: fc.boolean(),
});
type DrawnCall = typeof drawnCall extends fc.Arbitrary<infer Drawn> ? Drawn : never;

/** No two things happen within one millisecond: which came first would be anybody's guess. */
function laidOut(drawn: readonly DrawnCall[]): PaperCall[] {
  const taken = new Set<number>();
  const free = (at: number): number => {
    let ms = at;
    while (taken.has(ms)) ms += 1;
    taken.add(ms);
    return ms;
  };
  let clock = PAST_START;
  return drawn.map(({ gapMs, end, lastsMs, percent, ...call }) => {
    const atMs = free((clock += gapMs));
    const output = Math.floor((call.mostOutput * percent) / 100);
    return {
      ...call,
      id: newUuid(new Date(atMs)),
      atMs,
      output,
      end: end === 'never' ? null : { kind: end, atMs: free(atMs + lastsMs) },
    };
  });
}

const drawnBudget = fc
  .record({
    limits: fc.oneof(
      fc.integer({ min: 0, max: 1_500 }).map((limit) => ({ ...NO_LIMITS, usdNano: BigInt(limit) })),
      fc.integer({ min: 1, max: 400 }).map((limit) => ({ ...NO_LIMITS, tokens: BigInt(limit) })),
      fc.integer({ min: 1, max: 6 }).map((limit) => ({ ...NO_LIMITS, requests: BigInt(limit) })),
      fc.integer({ min: 1, max: 3 }).map((limit) => ({ ...NO_LIMITS, concurrent: BigInt(limit) })),
    ),
    perUser: fc.boolean(),
    period: fc.constantFrom(
      { kind: 'hour' } as const,
      { kind: 'day' } as const,
      { kind: 'total' } as const,
      { kind: 'rolling', seconds: 60 } as const,
      { kind: 'rolling', seconds: 1_800 } as const,
    ),
    thresholds: fc.constantFrom(DEFAULT_THRESHOLDS, BLOCK_ONLY),
    countFrom: fc.constantFrom('period_start' as const, 'now' as const),
  })
  .map(({ perUser, ...rest }): BudgetSettings => ({ ...rest, scope: {}, per: perUser ? ['user_id'] : [], enforcement: 'enforce' }));

const inForce = (settings: BudgetSettings, fromMs: number): Budget =>
  budgetOf({ ...settings, budgetId: 'draft', timezone: ZONE, countsFromMs: settings.countFrom === 'now' ? fromMs : null });

const draft = (change: Partial<BudgetSettings>): BudgetSettings => ({
  scope: {},
  per: [],
  period: { kind: 'day' },
  limits: { ...NO_LIMITS, usdNano: 1_000n },
  thresholds: BLOCK_ONLY,
  enforcement: 'enforce',
  countFrom: 'period_start',
  ...change,
});

/** Calls of 400 nano-USD each, a minute apart, booked half a minute after they were asked for. */
const steadily = (calls: number): PaperCall[] =>
  laidOut(
    Array.from({ length: calls }, () => ({
      user: 'u1',
      gapMs: MINUTE_MS,
      input: 50,
      mostOutput: 50,
      percent: 100,
      end: 'booked',
      lastsMs: 30_000,
      byCallId: false,
    })),
  );

async function simulate(
  calls: readonly PaperCall[],
  settings: BudgetSettings,
  change: { from?: Date; asked?: boolean; ladders?: Ladders | undefined } & Partial<Parameters<typeof simulatorOf>[1]> = {},
) {
  const { from, asked, ladders = AS_THEY_ARE, ...how } = change;
  const simulator = simulatorOf(pastOf(calls, asked), { timezone: ZONE, now: AFTERWARDS, ...how });
  return await simulator.execute({ tenantId: TENANT, settings, from: from ?? new Date(PAST_START), to: undefined, ladders, listed: 10_000 });
}

describe('a simulated budget', () => {
  it('blocks, downgrades and spends what it does where it is in force: any calls, any budget, from any moment on', async () => {
    const seen = { blocked: 0, downgraded: 0, before: 0 };
    await fc.assert(
      fc.asyncProperty(fc.array(drawnCall, { maxLength: 30 }), drawnBudget, fc.integer({ min: 0, max: 10 }), async (drawn, settings, skipped) => {
        const calls = laidOut(drawn);
        const fromMs = calls[skipped]?.atMs ?? PAST_START;
        const expected = await enforce(calls, inForce(settings, fromMs), fromMs);
        const told = await simulate(calls, settings, { from: new Date(fromMs), ladders: LADDER });
        expect(told.blockedCalls.map(({ holdId, used, held }) => ({ id: holdId, used, held }))).toEqual(expected.blocked);
        expect([told.calls.downgraded, told.dollars.allowedNano]).toEqual([expected.downgraded, expected.spentNano]);
        const judged = calls.filter(({ atMs }) => atMs >= fromMs);
        const booked = judged.filter(({ end }) => end?.kind === 'booked');
        expect([told.calls.all, told.dollars.recordedNano]).toEqual([
          judged.length,
          booked.reduce((sum, call) => sum + costOf('big', call.input, call.output), 0n),
        ]);
        seen.blocked += expected.blocked.length;
        seen.downgraded += expected.downgraded;
        seen.before += calls.length - judged.length;
      }),
      { numRuns: RUNS },
    );
    // Equal must not mean that nothing happened.
    expect(Math.min(seen.blocked, seen.downgraded, seen.before)).toBeGreaterThan(RUNS / 10);
  }, 60_000);

  it('spends nothing on a blocked call, so that a smaller one after it passes', async () => {
    const [first, second, third] = steadily(3) as [PaperCall, PaperCall, PaperCall];
    const calls = [first, { ...second, output: 500, mostOutput: 500 }, third];
    const told = await simulate(calls, draft({}));
    expect(told.blockedCalls).toMatchObject([{ callId: second.id, reason: 'too_large', used: 400n, held: 0n, limit: 1_000n, asked: 2_200n, costNano: 2_200n }]);
    expect([told.calls.allowed, told.dollars]).toEqual([2, { recordedNano: 3_000n, allowedNano: 800n, blockedNano: 2_200n }]);
  });

  it('tells each counter with its limit, the most that was used, its first block and when it reached each threshold', async () => {
    const calls = steadily(4);
    const told = await simulate(calls, draft({ per: ['user_id'], thresholds: DEFAULT_THRESHOLDS }));
    const bookedAt = (index: number): number => calls[index]?.end?.atMs ?? 0;
    expect(told.counters).toMatchObject([
      {
        values: { user_id: 'u1' },
        metric: 'usd',
        limit: 1_000n,
        used: 800n,
        blockedCalls: 2,
        firstBlockedAtMs: calls[2]?.atMs,
        crossings: [50, 80].map((percent) => ({ percent, atMs: bookedAt(1) })),
      },
    ]);
  });

  it('judges a call of which only the report is known when it occurred and by what it cost, and says how many those are', async () => {
    const told = await simulate(steadily(4), draft({}), { asked: false });
    expect([told.calls.all, told.calls.blocked, told.history.reportedOnly]).toEqual([4, 2, 4]);
    expect(told.blockedCalls.map(({ holdId, costNano }) => [holdId, costNano])).toEqual([
      [null, 400n],
      [null, 400n],
    ]);
  });

  it('in shadow lets every call run and tells what it would have blocked', async () => {
    const told = await simulate(steadily(5), draft({ enforcement: 'shadow' }));
    expect(told.blockedCalls.map(({ used, held }) => [used, held])).toEqual([
      [800n, 0n],
      [1_200n, 0n],
      [1_600n, 0n],
    ]);
    expect(told.counters[0]).toMatchObject({ used: 2_000n, blockedCalls: 3 });
  });

  it('says where it was cut when the past is too long, and what it tells is true of everything before', async () => {
    const calls = steadily(60);
    const told = await simulate(calls, draft({}), { bounds: { maxRows: 40 } });
    expect(told.cut).toMatchObject({ reason: 'rows' });
    const until = told.cut?.nextFrom.getTime() ?? 0;
    const whole = await simulate(calls, draft({}));
    expect(told.blockedCalls.length).toBeGreaterThan(5);
    expect(told.blockedCalls.map(({ callId }) => callId)).toEqual(whole.blockedCalls.filter(({ atMs }) => atMs <= until).map(({ callId }) => callId));
    expect(whole.cut).toBeNull();
  });

  it('says where it was cut when it took too long', async () => {
    let now = 0;
    const told = await simulate(steadily(200), draft({}), { bounds: { deadlineMs: 2 }, monotonicNow: () => (now += 1) });
    expect(told.cut?.reason).toBe('deadline');
  });

  it('refuses where not even the beginning of the period can be read', async () => {
    const work = simulate(steadily(60), draft({}), { from: new Date(PAST_START + HOUR_MS), bounds: { maxRows: 10 } });
    await expect(work).rejects.toMatchObject({ code: 'budget.simulation_too_long', errors: [{ path: 'from' }] });
  });

  it('refuses one more than may run side by side, and takes it when one of them is over', async () => {
    const simulator = simulatorOf(pastOf(steadily(80)), { timezone: ZONE, now: AFTERWARDS, bounds: { atOnce: 1 } });
    const input = { tenantId: TENANT, settings: draft({}), from: new Date(PAST_START), to: undefined, ladders: undefined, listed: 0 };
    const first = simulator.execute(input);
    await new Promise((resolve) => setImmediate(resolve));
    await expect(simulator.execute(input)).rejects.toMatchObject({ code: 'budget.simulation_busy', kind: 'unavailable' });
    await first;
    await expect(simulator.execute(input)).resolves.toMatchObject({ calls: { all: 80 } });
  });
});
