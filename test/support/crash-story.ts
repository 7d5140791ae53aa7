/**
 * What a gateway does with one tenant's calls, told step by step so that any step may be the last one before a death: a step that was not
 * answered is done again by the next server, as a gateway would, and the story goes on. Knows at every moment how much money is promised
 * or spent at least, and at the end to the nano-dollar how the books and its budget's counters must stand, however often the server died.
 */
import { parseUsd, type Nano } from '#libs/kernel/index.js';
import { eventually } from './eventually.js';
import type { Program } from './standalone.js';

export type Durability = 'strict' | 'fast';

export interface Step {
  readonly name: string;
  readonly run: (program: Program) => Promise<void>;
}

interface Call {
  readonly amountUsd: string;
  holdId: string | null;
  /** What it keeps or has cost, at least and at most, by what was answered. */
  least: Nano;
  most: Nano;
}

type Answer = Awaited<ReturnType<Program['call']>>;

const CREDIT = parseUsd('1');
const OPENAI = { provider: 'openai', model: 'gpt-4o' };
/** gpt-4o: 10 USD per million output tokens. */
const SETTLED = { tokens: 300, usd: '0.003' };
const CORRECTED = { tokens: 310, usd: '0.0031' };
const REPORTED = { tokens: 100, usd: '0.001' };
/** 30,000 output tokens at 10 and 1,000 input tokens at 2.50 USD per million: more than the first ceiling covers. */
const EXTENDED = { tokens: 30_000, usd: '0.3025' };
const SMALL = { kept: '0.002', settled: '0.005', released: '0.0004', reported: '0.003' };
/**
 * Far more than the credit and all calls together, so that it never refuses, whatever deaths keep back of it; small enough that the two calls
 * that are reported are its first percent, which leaves a crossing.
 */
const BUDGET = {
  per: ['user_id'],
  period: 'total',
  limit_usd: '10',
  limit_requests: 200,
  thresholds: [
    { percent: 1, action: 'notify' },
    { percent: 100, action: 'block' },
  ],
  count_from: 'now',
};
/** The gateway names somebody else than who asked: an event counts where its hold was asked, which is then remembered. */
const ASKED_BY = 'asked';
const REPORTED_OF = 'reported';
/** Enough to use up more than half of the first ceiling, which is then raised ahead of need. */
const BUSY = { calls: 20, usd: '0.012' };

let tenants = 0;

export class CrashStory {
  readonly tenantId: string;
  protected readonly calls = new Map<string, Call>();
  private done = 0;

  constructor(protected readonly durability: Durability) {
    this.tenantId = `${durability}-${(tenants += 1)}`;
  }

  readonly steps: readonly Step[] = [
    { name: 'set up', run: async (program) => await this.setUp(program) },
    { name: 'authorize', run: async (program) => await this.authorizeAll(program) },
    { name: 'busy', run: async (program) => await this.busy(program) },
    { name: 'extend', run: async (program) => await this.extend(program) },
    { name: 'release', run: async (program) => await this.release(program) },
    { name: 'replay', run: async (program) => await this.replay(program, 'kept') },
    { name: 'settle', run: async (program) => await this.settle(program) },
    { name: 'report', run: async (program) => await this.report(program) },
    { name: 'correct', run: async (program) => await this.correct(program) },
  ];

  /** Goes on to the end of the step `last`, or to the end. @throws when the server died: the step is then done again */
  async tell(program: Program, last?: string): Promise<void> {
    for (let step = this.steps[this.done]; step; step = this.steps[this.done]) {
      await step.run(program);
      this.done += 1;
      if (step.name === last) return;
    }
  }

  /** Right after a death, before anything is done again: nothing promised was forgotten, nothing is promised twice. */
  async checkAfterDeath(program: Program): Promise<void> {
    if (this.done === 0) return;
    let available = 0n;
    const read = async (): Promise<void> => {
      const { body } = await program.call('GET', `/v1/tenants/${this.tenantId}/balance`);
      available = parseUsd(body.available_usd);
    };
    await read();
    expect({ tenant: this.tenantId, available, tooMuch: available > CREDIT - this.sum('least') }).toMatchObject({ tooMuch: false });
    expect({ available, negative: available < 0n }).toMatchObject({ negative: false });
    // A fast tenant's lost promises are covered by more than they were; and between a booking and its relay money counts as held and spent.
    const enough = async (): Promise<boolean> => await read().then(() => available >= CREDIT - this.sum('most'));
    if (this.durability === 'strict') await eventually(`${this.tenantId} has no less than ${CREDIT - this.sum('most')}; it has ${available}`, enough);
    // What was read a moment ago may have grown: a settle is being booked. This much can never be left.
    expect((await this.ask(program, 'too much', usdOf(CREDIT - this.sum('least') + 1n))).body).toMatchObject({ decision: 'block', degraded: false });
    const isOpen = ([callId, call]: [string, Call]): boolean => call.least > 0n && /^(kept|busy)/.test(callId);
    if (this.durability === 'strict') for (const [callId] of [...this.calls].filter(isOpen)) await this.replay(program, callId);
  }

  /** The end of the story: the books, exactly. */
  async checkEnd(program: Program): Promise<void> {
    const posted = CREDIT - parseUsd(CORRECTED.usd) - parseUsd(REPORTED.usd);
    const held = parseUsd(SMALL.kept) + BigInt(BUSY.calls) * parseUsd(BUSY.usd);
    await this.booksAre(program, posted, this.durability === 'strict' ? held : null);
    await this.budgetIs(program, CREDIT - posted, 2);
    if (this.durability === 'fast') return;
    await this.replay(program, 'kept');
    for (const callId of ['settled', 'released', 'reported'])
      expect((await this.ask(program, callId, this.calls.get(callId)?.amountUsd ?? '')).body).toMatchObject({ code: 'quota.call_already_settled' });
  }

  /** Posted and held, as soon as what waits is booked. A fast tenant holds what was lost as well: anything the balance covers. */
  protected async booksAre(program: Program, posted: Nano, held: Nano | null): Promise<void> {
    let body: any;
    await eventually(`${this.tenantId} stands at ${posted}, holding ${held}: ${'it is'}`, async () => {
      ({ body } = await program.call('GET', `/v1/tenants/${this.tenantId}/balance`));
      return parseUsd(body.posted_usd) === posted && (held === null || parseUsd(body.held_usd) === held);
    }).catch((error: unknown) => {
      throw new Error(`${String(error)}; it is ${JSON.stringify(body)}`);
    });
    expect(parseUsd(body.available_usd)).toBeGreaterThanOrEqual(0n);
  }

  /**
   * The budget's counters, exactly: every charge and every call once, a correction in the place of what it corrects. A strict call counts for
   * who asked; a fast one whose hold was lost for whom its report names.
   */
  protected async budgetIs(program: Program, spent: Nano, requests: number): Promise<void> {
    let counters: any[] = [];
    const used = (metric: string): string[] =>
      counters.flatMap(({ limits }) => limits.filter((limit: any) => limit.metric === metric)).map((limit) => limit.used);
    await eventually(`the budget of ${this.tenantId} stands at ${spent} and ${requests} requests`, async () => {
      ({
        body: { data: counters },
      } = answered(await program.call('GET', `/v1/tenants/${this.tenantId}/budgets/total/status`)));
      const nano = used('usd').reduce((sum, usd) => sum + parseUsd(usd), 0n);
      return nano === spent && used('requests').reduce((sum, count) => sum + Number(count), 0) === requests;
    }).catch((error: unknown) => {
      throw new Error(`${String(error)}; it is ${JSON.stringify(counters)}`);
    });
    if (this.durability === 'strict') expect(counters.map(({ values }) => values)).toEqual([{ user_id: ASKED_BY }]);
  }

  protected async setUp(program: Program): Promise<void> {
    const settings = { hold_durability: this.durability, unresolved_policy: this.durability === 'strict' ? 'charge_hold' : 'charge_input' };
    answered(await program.call('PUT', `/v1/tenants/${this.tenantId}`, settings));
    answered(await program.call('POST', `/v1/tenants/${this.tenantId}/credits`, { amount_usd: '1', kind: 'paid' }, { 'idempotency-key': this.tenantId }));
    answered(await program.call('PUT', `/v1/tenants/${this.tenantId}/budgets/total`, BUDGET));
  }

  protected async ask(program: Program, callId: string, usd: string): Promise<Answer> {
    return await program.call('POST', '/v1/authorize', {
      ...OPENAI,
      tenant_id: this.tenantId,
      call_id: callId,
      user_id: ASKED_BY,
      input_tokens: 1_000,
      estimated_cost_usd: usd,
    });
  }

  protected async authorize(program: Program, callId: string, amountUsd: string, mayHaveEnded = false): Promise<void> {
    const call: Call = this.calls.get(callId) ?? { amountUsd, holdId: null, least: 0n, most: parseUsd(amountUsd) };
    this.calls.set(callId, call);
    const answer = await this.ask(program, callId, amountUsd);
    if (mayHaveEnded && answer.body?.code === 'quota.call_already_settled') return;
    const { body } = answered(answer);
    // Strict: the same call never gets a second hold. Fast: it may, where a death took the first.
    expect(body).toMatchObject({ decision: 'allow', degraded: false });
    if (call.holdId !== null && this.durability === 'strict') expect(body.hold.hold_id).toBe(call.holdId);
    call.holdId = body.hold.hold_id;
    call.least = call.most;
  }

  private async authorizeAll(program: Program): Promise<void> {
    // Together: strict ones share a commit, fast ones a rise of the ceiling. One is asked twice at once.
    const all = [...Object.entries(SMALL), ['kept', SMALL.kept] as const];
    await Promise.all(all.map(async ([callId, usd]) => await this.authorize(program, callId, usd)));
  }

  private async busy(program: Program): Promise<void> {
    for (let call = 1; call <= BUSY.calls; call += 1) await this.authorize(program, `busy-${call}`, BUSY.usd);
  }

  protected async replay(program: Program, callId: string): Promise<void> {
    const call = this.calls.get(callId);
    const { body } = answered(await this.ask(program, callId, call?.amountUsd ?? ''));
    expect(body.decision).toBe('allow');
    if (this.durability === 'strict') expect(body).toMatchObject({ replayed: true, hold: { hold_id: call?.holdId } });
  }

  private async extend(program: Program): Promise<void> {
    const call = this.calls.get('settled')!;
    call.most = parseUsd(EXTENDED.usd);
    const { body, status } = this.known(await program.call('POST', `/v1/holds/${call.holdId}/extend`, { output_tokens: EXTENDED.tokens, ttl_ms: 3_600_000 }));
    if (status === 200) expect(body).toMatchObject({ state: 'active', amount_usd: `${EXTENDED.usd}00000` });
    if (status === 200) call.least = call.most;
  }

  private async release(program: Program): Promise<void> {
    const call = this.calls.get('released')!;
    call.least = 0n;
    const { body, status } = this.known(await program.call('POST', `/v1/holds/${call.holdId}/release`));
    if (status === 200) expect(body.state).toBe('released');
    call.most = 0n;
  }

  private async settle(program: Program): Promise<void> {
    const call = this.calls.get('settled')!;
    call.least = parseUsd(SETTLED.usd);
    const usage = { output_tokens: SETTLED.tokens };
    const { status } = this.known(await program.call('POST', `/v1/holds/${call.holdId}/settle`, { usage }));
    // A fast hold may be lost before it has a row: then the gateway's report is all there is.
    if (status === 404) await this.send(program, { event_id: 'late', call_id: 'settled', usage, usage_quality: 'drained' });
    await this.postedIs(program, CREDIT - parseUsd(SETTLED.usd));
    call.most = call.least;
  }

  private async report(program: Program): Promise<void> {
    const call = this.calls.get('reported')!;
    await this.send(program, { event_id: 'failed', call_id: 'reported', status: 'error', usage: { input_tokens: 0 } });
    call.least = parseUsd(REPORTED.usd);
    await this.send(program, { event_id: 'success', call_id: 'reported', hold_id: call.holdId, usage: { output_tokens: REPORTED.tokens } });
    await this.postedIs(program, CREDIT - parseUsd(SETTLED.usd) - parseUsd(REPORTED.usd));
    call.most = call.least;
  }

  /** The gateway's exact report of the call that was settled by its caller's word. */
  private async correct(program: Program): Promise<void> {
    const call = this.calls.get('settled')!;
    call.most = parseUsd(CORRECTED.usd);
    await this.send(program, { event_id: 'exact', call_id: 'settled', usage: { output_tokens: CORRECTED.tokens } });
    await this.postedIs(program, CREDIT - parseUsd(CORRECTED.usd) - parseUsd(REPORTED.usd));
    call.least = call.most;
  }

  private async send(program: Program, event: { event_id: string } & Record<string, unknown>): Promise<void> {
    const all = { ...event, event_id: `${this.tenantId}-${event.event_id}`, tenant_id: this.tenantId, user_id: REPORTED_OF, ...OPENAI };
    answered(await program.call('POST', '/v1/events', all));
  }

  private async postedIs(program: Program, posted: Nano): Promise<void> {
    await this.booksAre(program, posted, null);
  }

  /** A fast hold may have died with the server, and what covers it may leave too little for a rise. */
  private known(answer: Answer): Answer {
    const lost = answer.status === 404 || answer.body?.code === 'hold.cannot_grow';
    return this.durability === 'fast' && lost ? answer : answered(answer);
  }

  private sum(bound: 'least' | 'most'): Nano {
    return [...this.calls.values()].reduce((sum, call) => sum + call[bound], 0n);
  }
}

/** Two calls of which nobody ever hears again, on a server that gives holds one second. */
export class ExpiryStory extends CrashStory {
  override readonly steps: readonly Step[] = [
    { name: 'set up', run: async (program) => await this.setUp(program) },
    { name: 'authorize', run: async (program) => await this.authorizeForgotten(program) },
    { name: 'expire', run: async (program) => await this.expired(program) },
  ];

  /** The whole hold, or the input at 2.50 USD per million. */
  private get charge(): Nano {
    return parseUsd(this.durability === 'strict' ? '0.05' : '0.0025');
  }

  override async checkAfterDeath(): Promise<void> {}

  override async checkEnd(program: Program): Promise<void> {
    await this.expired(program);
    await this.budgetIs(program, this.charge, 1);
    const { body } = await program.call('GET', `/v1/holds?tenant_id=${this.tenantId}`);
    expect(body.data).toMatchObject([{ state: 'unresolved', resolution: 'charged', call_id: 'forgotten' }]);
    expect((await this.ask(program, 'forgotten', '0.05')).body).toMatchObject({ code: 'quota.call_already_settled' });
  }

  private async authorizeForgotten(program: Program): Promise<void> {
    // A second is less than a start takes: the hold of one that asked before a death may have run out by now.
    const mayHaveEnded = this.calls.has('forgotten');
    await this.authorize(program, 'forgotten', '0.05', mayHaveEnded);
    // The list writes what is written behind: from here on the hold has a row, whatever happens.
    const { body } = await program.call('GET', `/v1/holds?tenant_id=${this.tenantId}`);
    expect(body.data).toHaveLength(1);
  }

  private async expired(program: Program): Promise<void> {
    await this.booksAre(program, CREDIT - this.charge, 0n);
  }
}

/** @throws when the answer is no answer */
function answered(answer: Answer): Answer {
  if (answer.status >= 300) throw new Error(`answered ${answer.status}: ${JSON.stringify(answer.body)}`);
  return answer;
}

function usdOf(nano: Nano): string {
  return `${nano / 1_000_000_000n}.${(nano % 1_000_000_000n).toString().padStart(9, '0')}`;
}
