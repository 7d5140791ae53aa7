/**
 * Several tenants at once through the real API and PostgreSQL, every request now and then twice, with restarts on the same database, against
 * a naive oracle. Strict tenants survive crashes; fast ones a clean stop. Replay a failure: npm test -- test/model/quota-api --seed <seed>
 */
import { inspect, isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { FixedClock } from '#libs/kernel/testing/fixed-clock.js';
import { StopPromising } from '#libs/quota/index.js';
import { startTestApi, type ApiAnswer, type TestApi } from '../support/api.js';
import { openTestDatabase, type TestDatabase } from '../support/database.js';
import { settleEverything, sweepHolds } from '../support/posting.js';
import { costOf, SpendOracle, type NaiveCall, type Quality } from '../support/spend-oracle.js';

const MINUTE_MS = 60_000;
const TTL_MS = 15 * MINUTE_MS;
const EXTENSION_MS = 20 * MINUTE_MS;
const START = '2026-11-30T23:20:00.000Z';
const MODEL = { provider: 'openai', model: 'gpt-4o' };
const POLICIES = ['charge_hold', 'charge_input', 'release', 'charge_hold', 'charge_input'] as const;
const RUNS = 4;

const KINDS = ['authorize', 'ask-again', 'report', 'no-usage', 'attempt', 'settle', 'settle-part', 'release', 'extend', 'credit'] as const;
type Kind = (typeof KINDS)[number];
interface Step {
  readonly kind: Kind;
  readonly pick: number;
  readonly size: number;
  readonly quality: Quality;
  readonly twice: boolean;
}
type Round = readonly Step[] | { readonly pass: number } | 'sweep' | 'restart';

const usd = (nano: bigint): string => `${nano / 1_000_000_000n}.${String(nano % 1_000_000_000n).padStart(9, '0')}`;
const nano = (text: string): bigint => BigInt(text.replace('.', ''));
const usageOf = (outputTokens: number) => ({ input_tokens: 1_000, output_tokens: outputTokens });

class Violation extends Error {
  constructor(
    readonly invariant: string,
    message: string,
  ) {
    super(`${invariant}: ${message}`);
  }
}
function same(invariant: string, told: unknown, paper: unknown): void {
  if (!isDeepStrictEqual(told, paper)) throw new Violation(invariant, `told ${inspect(told, { depth: 9 })}, on paper ${inspect(paper, { depth: 9 })}`);
}

class World {
  api!: TestApi;
  readonly clock = new FixedClock(START);
  readonly tenants: { id: string; oracle: SpendOracle }[] = [];
  readonly seen: string[] = [];
  private counter = 0;

  constructor(
    readonly database: TestDatabase,
    readonly durability: 'fast' | 'strict',
  ) {}

  async start(): Promise<void> {
    this.api = await startTestApi({ database: this.database, clock: this.clock });
    for (const [index, policy] of POLICIES.entries()) {
      const id = `t${index}`;
      await this.api.call('PUT', `/v1/tenants/${id}`, { body: { hold_durability: this.durability, unresolved_policy: policy } });
      this.tenants.push({ id, oracle: new SpendOracle(policy) });
    }
  }

  get now(): number {
    return this.clock.now().getTime();
  }

  /** A crash for strict tenants; for fast ones a clean stop, after which short holds that left no row are unknown. */
  async restart(): Promise<void> {
    if (this.durability === 'fast') {
      await this.api.app.get(StopPromising).execute();
      for (const { oracle } of this.tenants) for (const call of oracle.calls) call.forgotten ||= call.hold.state !== 'active';
    }
    await this.api.close();
    this.api = await startTestApi({ database: this.database, clock: this.clock });
  }

  async play(round: Round): Promise<void> {
    if (round === 'restart') await this.restart();
    else if (round === 'sweep') {
      await sweepHolds(this.api.app);
      for (const { oracle } of this.tenants) oracle.sweep(this.now);
    } else if ('pass' in round) this.clock.advance(round.pass * MINUTE_MS);
    else {
      await Promise.all(this.tenants.map(async ({ id, oracle }, index) => await this.step(id, oracle, round[index]!)));
      await settleEverything(this.api.app);
    }
    for (const { id, oracle } of this.tenants) await this.compare(id, oracle, typeof round === 'string' ? round : 'round');
  }

  private async step(tenantId: string, oracle: SpendOracle, step: Step): Promise<void> {
    this.seen.push(`${tenantId} ${step.kind}`);
    if (step.kind === 'authorize') return await this.authorize(tenantId, oracle, step);
    if (step.kind === 'credit') return await this.credit(tenantId, oracle, step);
    const call = oracle.calls[step.pick % Math.max(1, oracle.calls.length)];
    if (call === undefined) return;
    if (step.kind === 'report' || step.kind === 'no-usage' || step.kind === 'attempt') return await this.event(tenantId, oracle, call, step);
    if (call.forgotten) return;
    if (step.kind === 'ask-again') return await this.askAgain(tenantId, oracle, call);
    await this.change(oracle, call, step);
  }

  private async send(twice: boolean, request: () => Promise<ApiAnswer>): Promise<ApiAnswer[]> {
    return twice ? [await request(), await request()] : [await request()];
  }

  private bodyOf(tenantId: string, callId: string, amount: bigint): object {
    return { tenant_id: tenantId, call_id: callId, ...MODEL, input_tokens: 1_000, estimated_cost_usd: usd(amount) };
  }

  private async authorize(tenantId: string, { quota, calls, policy }: SpendOracle, { size, twice }: Step): Promise<void> {
    const amount = BigInt(size) * 10_000_000n;
    const call = `call-${(this.counter += 1)}`;
    const { told } = quota.tell(amount, call, '', this.now);
    const [first, again] = await this.send(twice, async () => await this.api.call('POST', '/v1/authorize', { body: this.bodyOf(tenantId, call, amount) }));
    const reason = first!.body.reason.code;
    same('H1', [tenantId, reason, first!.body.decision], [tenantId, told === 'held' ? 'ok' : told, told === 'held' ? 'allow' : 'block']);
    if (told !== 'held') return;
    if (again) same('H5', [again.body.replayed, again.body.hold], [true, first!.body.hold]);
    const id: string = first!.body.hold.hold_id;
    const hold = { id, call, body: '', amount, taken: 0n, state: 'active' as const, policy, charged: false, expires: this.now + TTL_MS, endedAt: null };
    quota.holds.push({ ...hold, strict: this.durability === 'strict', fence: false });
    const askedAt = this.clock.now();
    calls.push({ hold: quota.holds.at(-1)!, month: askedAt.toISOString().slice(0, 7), askedAt, standing: null, extras: [], forgotten: false });
    same('H1', [nano(first!.body.available_usd)], [quota.posted - quota.held()]);
  }

  private async askAgain(tenantId: string, { quota }: SpendOracle, { hold }: NaiveCall): Promise<void> {
    // Later than that a call id may be given to another call; what is then held for it is no repeat.
    if (hold.endedAt !== null && this.now - hold.endedAt >= TTL_MS) return;
    const { told } = quota.tell(hold.amount, hold.call, '', this.now);
    const body = this.bodyOf(tenantId, hold.call!, hold.amount);
    const repeated = await this.api.call('POST', '/v1/authorize', { body });
    if (told === 'replayed') same('H5', [repeated.body.replayed, repeated.body.hold.hold_id], [true, hold.id]);
    else same('H5', [hold.state, repeated.body.code], [hold.state, 'quota.call_already_settled']);
    const other = await this.api.call('POST', '/v1/authorize', { body: { ...body, max_output_tokens: 1 } });
    same('H5', [other.status], [409]);
  }

  private async event(tenantId: string, oracle: SpendOracle, call: NaiveCall, { kind, size, quality, pick, twice }: Step): Promise<void> {
    const usage = kind === 'no-usage' ? {} : { usage: usageOf(size), usage_quality: quality };
    const named = pick % 2 === 0 || kind === 'attempt' ? { hold_id: call.hold.id, call_id: call.hold.call } : { call_id: call.hold.call };
    const event = { event_id: `event-${(this.counter += 1)}`, tenant_id: tenantId, ...MODEL, ...named, ...usage, occurred_at: call.askedAt.toISOString() };
    const body = { ...event, status: kind === 'attempt' ? 'error' : pick % 3 === 0 ? 'cancelled' : 'success' };
    const [, again] = await this.send(twice, async () => await this.api.call('POST', '/v1/events', { body }));
    if (again) same('E2', [again.body.accepted, again.body.corrected], [0, 0]);
    if (kind === 'attempt') oracle.extra(call, costOf(size), this.now);
    else if (kind === 'no-usage') oracle.report(call, 'unknown', 'nothing', null, this.now);
    else oracle.report(call, quality, `tokens ${size}`, costOf(size), this.now);
  }

  private async change(oracle: SpendOracle, call: NaiveCall, step: Step): Promise<void> {
    const { hold } = call;
    const { size, twice } = step;
    const post = async (path: string, body: object, key = 'k'): Promise<number[]> => {
      const request = async (): Promise<ApiAnswer> =>
        await this.api.call('POST', `/v1/holds/${hold.id}/${path}`, { body, headers: { 'idempotency-key': key } });
      return (await this.send(twice, request)).map((answer) => answer.status);
    };
    const open = oracle.quota.isOpen(hold);
    const { state } = hold;
    if (step.kind === 'release') {
      const ok = open || state === 'released';
      same('H3', [state, ...new Set(await post('release', {}))], [state, ok ? 200 : 409]);
      if (open) oracle.quota.end(hold, 'released', this.now);
    } else if (step.kind === 'extend') {
      same('H3', [state, ...new Set(await post('extend', { ttl_ms: EXTENSION_MS }))], [state, state === 'active' ? 200 : 409]);
      if (state === 'active') hold.expires = Math.max(hold.expires, this.now + EXTENSION_MS);
    } else {
      const cost = BigInt(size) * 1_000_000n;
      const part = step.kind === 'settle-part';
      const statuses = await post('settle', { cost_usd: usd(cost), final: !part }, `part-${(this.counter += 1)}`);
      if (state === 'released') return same('H3', [...new Set(statuses)], [409]);
      if (part) oracle.extra(call, cost, this.now);
      else oracle.report(call, 'estimated', `cost ${cost}`, cost, this.now);
    }
  }

  private async credit(tenantId: string, oracle: SpendOracle, { size, twice }: Step): Promise<void> {
    const amount = BigInt(size) * 10_000_000n;
    const request = { body: { amount_usd: usd(amount), kind: 'paid' }, headers: { 'idempotency-key': `credit-${(this.counter += 1)}` } };
    await this.send(twice, async () => await this.api.call('POST', `/v1/tenants/${tenantId}/credits`, request));
    oracle.grant(amount);
  }

  async compare(tenantId: string, oracle: SpendOracle, after: string): Promise<void> {
    const { body } = await this.api.call('GET', `/v1/tenants/${tenantId}/balance`);
    const { posted } = oracle.quota;
    // What nobody knows the usage of must move nothing: neither free nor charged.
    const step = after === 'round' ? this.seen.findLast((seen) => seen.startsWith(`${tenantId} `))?.split(' ')[1] : after;
    const paper = { posted, held: oracle.quota.held(), available: posted - oracle.quota.held(), unresolved: oracle.unresolved() };
    const told = { posted: nano(body.posted_usd), held: nano(body.held_usd), available: nano(body.available_usd), unresolved: nano(body.unresolved_usd) };
    same(step === 'no-usage' ? 'E5' : 'H1', [tenantId, oracle.policy, after, told], [tenantId, oracle.policy, after, paper]);
    // H2: only what calls cost beyond their holds may lead into debt.
    same('H2', [posted + oracle.beyondHolds() >= 0n], [true]);
  }

  /** Everything runs out; then no money is held, every hold has an end, and ledger, reports and balances say the same. */
  async end(): Promise<void> {
    for (const _ of [1, 2]) {
      await this.play({ pass: 25 });
      await this.play('sweep');
    }
    same('L2', (await this.api.call('GET', '/v1/ledger/check')).body.drift, []);
    for (const { id, oracle } of this.tenants) {
      same('H3', [oracle.quota.held()], [0n]);
      for (const month of ['2026-11', '2026-12']) {
        const [row] = (await this.api.call('GET', `/v1/reports/monthly-spend?month=${month}&tenant_id=${id}`)).body.data;
        const told = { charge: nano(row?.charge_usd ?? '0.000000000'), requests: row?.requests ?? 0 };
        same('H8', [id, month, told], [id, month, oracle.months().get(month) ?? { charge: 0n, requests: 0 }]);
      }
      const { body } = await this.api.call('GET', `/v1/holds?tenant_id=${id}&limit=500`);
      for (const hold of body.data) {
        const { state } = oracle.calls.find((call) => call.hold.id === hold.hold_id)!.hold;
        same('H9', [hold.hold_id, hold.state], [hold.hold_id, state]);
        same('H9', [state === 'active' || (state === 'unresolved' && oracle.policy !== 'release' && hold.resolution !== 'charged')], [false]);
      }
      const open = oracle.calls.filter((call) => call.standing?.charge === null).length;
      const [quarantine] = await this.database.db.query<{ count: bigint }>('SELECT count(*) FROM metering.quarantine WHERE tenant_id = $1', [id]);
      same('E5', [id, Number(quarantine?.count)], [id, open]);
    }
  }
}

const step: fc.Arbitrary<Step> = fc.record({
  kind: fc.oneof({ weight: 4, arbitrary: fc.constant<Kind>('authorize') }, { weight: 12, arbitrary: fc.constantFrom(...KINDS) }),
  pick: fc.nat(11),
  size: fc.integer({ min: 1, max: 90 }).map((size) => size * 10),
  quality: fc.constantFrom<Quality>('exact', 'exact', 'partial', 'estimated'),
  twice: fc.boolean(),
});
const steps = fc.tuple(...POLICIES.map(() => step));
const round: fc.Arbitrary<Round> = fc.oneof(
  { weight: 12, arbitrary: steps },
  { weight: 3, arbitrary: fc.constantFrom(4, 16).map((pass) => ({ pass })) },
  { weight: 3, arbitrary: fc.constant<Round>('sweep') },
  { weight: 1, arbitrary: fc.constant<Round>('restart') },
);

/** A walk that goes through every pair of commands once; each tenant of each run takes some steps of it after its random ones. */
const WALK = KINDS.flatMap((first, index) => [first, ...KINDS.slice(index + 1).flatMap((second) => [first, second])]);
const WALKED = Math.ceil(WALK.length / (RUNS * POLICIES.length));

function walk(run: number, drawn: readonly Step[][]): Step[][] {
  return drawn.map((steps, at) => steps.map((step, tenant) => ({ ...step, kind: WALK[((run * POLICIES.length + tenant) * WALKED + at) % WALK.length]! })));
}

describe.each(['strict', 'fast'] as const)('%s tenants over HTTP against a naive oracle', (durability) => {
  let failure: { invariant: string; report: string } | null = null;
  let missing: string[] = [];

  beforeAll(async () => {
    const pairs = new Set<string>();
    const random = fc.array(round, { minLength: 24, maxLength: 32, size: 'max' });
    let run = 0;
    const property = fc.asyncProperty(random, fc.array(steps, { minLength: WALKED + 1, maxLength: WALKED + 1 }), async (rounds, drawn) => {
      for (const pair of await playAll(durability, [...rounds, ...walk(run, drawn)])) pairs.add(pair);
      run += 1;
    });
    const seed = import.meta.jest.getSeed();
    const result = await fc.check(property, { numRuns: RUNS, seed, endOnFailure: true });
    const error = result.errorInstance;
    if (result.failed) failure = { invariant: error instanceof Violation ? error.invariant : 'none', report: `seed ${seed}: ${String(error)}` };
    missing = KINDS.flatMap((first) => KINDS.map((second) => `${first} ${second}`)).filter((pair) => !pairs.has(pair));
    console.log(`${durability}, seed ${seed}: ${pairs.size} of ${KINDS.length ** 2} command pairs; never seen: ${missing.join(', ') || 'none'}`);
  }, 300_000);

  it.each([
    ['H1', 'available = posted - held is that of the oracle after every round, and decides'],
    ['H2', 'only what calls cost beyond their holds leads into debt'],
    ['H3', 'a hold leaves active once, and nothing is held when nothing runs'],
    ['H5', 'one hold per call, whatever is asked twice and across restarts'],
    ['H8', 'what a hold leads to is in the month it was asked in, however and whenever it ends: Report A by month'],
    ['H9', 'every hold has an end: settled, released, charged or given back by policy'],
    ['E2', 'a report sent twice counts once'],
    ['E5', 'a call without usage costs nothing by itself and is listed until somebody says better'],
    ['L2', 'the ledger has no drift'],
    ['none', 'and nothing throws'],
  ])('%s %s', (invariant) => {
    expect(failure?.invariant === invariant ? failure.report : null).toBeNull();
  });

  it('went through every pair of commands', () => {
    // A history that failed ended the run before its time.
    expect(failure === null ? missing : []).toEqual([]);
  });
});

/** Plays one history on a database of its own; answers which commands followed each other. */
async function playAll(durability: 'fast' | 'strict', rounds: readonly Round[]): Promise<string[]> {
  const database = await openTestDatabase();
  const world = new World(database, durability);
  try {
    await world.start();
    await world.play(POLICIES.map(() => ({ kind: 'credit', pick: 0, size: 200, quality: 'exact', twice: true })));
    for (const each of rounds) await world.play(each);
    await world.end();
  } finally {
    await world.api.close();
    await database.close();
  }
  return world.tenants.flatMap(({ id }) => {
    const own = world.seen.filter((seen) => seen.startsWith(`${id} `)).map((seen) => seen.slice(id.length + 1));
    return own.slice(1).map((kind, index) => `${own[index]} ${kind}`);
  });
}
