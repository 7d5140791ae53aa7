/**
 * Random commands for a quota store, and what its truth would tell a load: enough of a database to rebuild from, none of a decision.
 * A command runs on any store and answers what can be compared; the truth changes once per command, whatever stores run it.
 */
import fc from 'fast-check';
import type { BookedBatch, Candidate, QuotaStore, ReserveCommand, TenantSnapshot } from '../../libs/quota/application/quota-store.js';
import type { CallFacts, Hold } from '../../libs/quota/domain/hold.js';
import { leaseKey, type LeaseGrant } from '../../libs/quota/domain/lease.js';
import { bucketStart, type Claim, type CounterDelta, type Window } from '../../libs/quota/domain/limit.js';
import { FACTS } from '../../libs/quota/testing/quota-world.js';

/** How many random histories are run, and from which seed: a longer run, or one again. */
export const HISTORIES = Number(process.env['QUOTA_HISTORIES'] ?? 150);
export const SEED = process.env['QUOTA_SEED'] ? Number(process.env['QUOTA_SEED']) : null;

/** Beyond where Lua prints an exponent, and few enough fit into 9e15 that sums stay within it. */
const HUGE = 1_000_000_000_000_001n;
const START_MS = Date.UTC(2026, 10, 22, 12);
const DAY_MS = 86_400_000;
const TTL_MS = 15 * 60_000;

export interface CounterKind {
  readonly counter: string;
  readonly metric: Claim['metric'];
  readonly window: Window;
}

export const COUNTERS: readonly CounterKind[] = [
  { counter: 'month usd', metric: 'usd', window: { kind: 'fixed', endsAtMs: START_MS + 8 * DAY_MS } },
  { counter: 'hour:usd}', metric: 'usd', window: { kind: 'fixed', endsAtMs: START_MS + 3_600_000 } },
  { counter: '{total}', metric: 'usd', window: { kind: 'fixed', endsAtMs: null } },
  { counter: 'minute requests', metric: 'requests', window: { kind: 'rolling', bucketMs: 1_000 } },
  { counter: 'hour tokens', metric: 'tokens', window: { kind: 'rolling', bucketMs: 60_000 } },
  { counter: 'ten minutes usd', metric: 'usd', window: { kind: 'rolling', bucketMs: 10_000 } },
  { counter: 'running', metric: 'concurrent', window: { kind: 'concurrent', ttlMs: 120_000 } },
  { counter: 'running of a user', metric: 'concurrent', window: { kind: 'concurrent', ttlMs: 120_000 } },
];

export const claimOn = (kind: CounterKind, more: Partial<Claim>): Claim => ({
  ...kind,
  budgetId: kind.counter,
  kind: 'budget',
  rate: false,
  limit: more.blockAt ?? 0n,
  amount: 1n,
  downgradeAt: null,
  blockAt: null,
  enforced: true,
  silent: false,
  ...more,
});

/** What PostgreSQL would know of one tenant. */
export class TenantTruth {
  seq = 0n;
  posted = 0n;
  bookedSeq = 0n;
  ceiling = 0n;
  promised = 0n;
  rules = 3;
  fencedUntilMs = 0;
  readonly holdIds: string[] = [];
  /** Open holds as rows: as they were when a store last knew the tenant. */
  rows: readonly Hold[] = [];
  /** Grants as rows: as they were told or lowered last. */
  readonly leases = new Map<string, LeaseGrant>();
  leaseVersion = 10n;
  private readonly used = new Map<string, CounterDelta>();

  constructor(readonly tenantId: string) {}

  use(delta: CounterDelta): void {
    const start = delta.window.kind === 'rolling' ? bucketStart(delta.atMs, delta.window.bucketMs) : 0;
    const key = `${delta.counter} ${start}`;
    this.used.set(key, { ...delta, amount: delta.amount + (this.used.get(key)?.amount ?? 0n) });
  }

  snapshot(): TenantSnapshot {
    return {
      tenantId: this.tenantId,
      seq: this.seq,
      postedNano: this.posted,
      holds: this.rows,
      recentCalls: [],
      promisedNano: this.promised,
      ceilingNano: this.ceiling,
      bookedSeq: this.bookedSeq,
      rulesRevision: this.rules,
      counters: [...this.used.values()],
      fencedUntilMs: this.fencedUntilMs,
      leases: { grants: [...this.leases.values()], from: this.leaseVersion },
    };
  }
}

export class Truth {
  nowMs = START_MS;
  private ids = 0;
  readonly tenants: readonly TenantTruth[];

  constructor(run: string) {
    this.tenants = [new TenantTruth(`}x${run}`), new TenantTruth(`a:b${run}`)];
  }

  tenant(pick: number): TenantTruth {
    return this.tenants[pick % this.tenants.length] as TenantTruth;
  }

  newHoldId(tenant: TenantTruth): string {
    this.ids += 1;
    const holdId = `hold-${this.ids}`;
    tenant.holdIds.push(holdId);
    return holdId;
  }
}

/** Prepared once from the truth, run on every store, answered by each. */
export interface Command {
  readonly name: string;
  /** Whom it is about; absent: everybody. */
  readonly tenant?: number;
  readonly prepare: (truth: Truth) => (store: QuotaStore, crash: () => Promise<void>) => Promise<unknown>;
}

const amounts = fc.oneof({ weight: 8, arbitrary: fc.bigInt({ min: 0n, max: 60n }) }, { weight: 1, arbitrary: fc.constantFrom(HUGE, HUGE + 1n) });

/** What of a claim is leased: of most of them nothing. */
const LEASES = [
  { block: 100, downgrade: 80, isFinal: false },
  { block: 100, downgrade: 80, isFinal: true },
  { block: null, downgrade: 80, isFinal: true },
  { block: 100, downgrade: null, isFinal: true },
] as const;

const claims = fc.subarray([...COUNTERS], { minLength: 0 }).chain((kinds) =>
  fc.tuple(
    ...kinds.map((kind) =>
      fc
        .record({
          amount: kind.metric === 'concurrent' ? fc.constant(1n) : fc.bigInt({ min: 0n, max: 40n }),
          blockAt: fc.oneof(
            { weight: 6, arbitrary: kind.metric === 'concurrent' ? fc.bigInt({ min: 0n, max: 6n }) : fc.bigInt({ min: 0n, max: 300n }) },
            { weight: 1, arbitrary: fc.constantFrom(null, HUGE) },
          ),
          downgradeAt: fc.oneof({ weight: 3, arbitrary: fc.constant(null) }, { weight: 1, arbitrary: fc.bigInt({ min: 0n, max: 200n }) }),
          rate: fc.boolean(),
          enforced: fc.constantFrom(true, true, true, false),
          silent: fc.constantFrom(false, false, false, true),
          lease: fc.constantFrom(undefined, undefined, ...LEASES),
        })
        .map((more) => claimOn(kind, more)),
    ),
  ),
);

const PERCENTS = [80, 100];
/** Few, so that commands meet the same ones. */
const LEASED = COUNTERS.filter(({ counter }) => ['month usd', 'ten minutes usd', 'running'].includes(counter));

const candidates = fc.array(fc.record({ amountNano: amounts, claims }), { minLength: 1, maxLength: 3 });
const rule = fc.constantFrom(0n, 0n, 100n, 4n * HUGE, null).map((creditLimitNano) => ({ creditLimitNano }));
const facts = (model: number): CallFacts => ({ ...FACTS, model: `model ${model}`, tags: { 'a "b"': '\u2028' } });

/** As the product makes them: of the tenant and its call. */
const digestOf = (tenant: number, call: string | null): string | null => (call === null ? null : `${'ab'[tenant]}${call}`.repeat(16));

const authorize = fc
  .record({
    tenant: fc.nat(1),
    candidates,
    rule,
    enforce: fc.constantFrom(true, true, false),
    strict: fc.boolean(),
    call: fc.constantFrom(null, null, null, '1', '2', '3'),
    body: fc.constantFrom('aa', 'aa', 'bb'),
    policy: fc.constantFrom('charge_hold' as const, 'charge_input' as const, 'release' as const),
    rules: fc.constantFrom(0, 0, 0, 0, 0, 0, 0, -1, 1),
  })
  .map((drawn): Command => ({
    name: 'authorize',
    tenant: drawn.tenant,
    prepare: (truth) => {
      const tenant = truth.tenant(drawn.tenant);
      const command: ReserveCommand = {
        tenantId: tenant.tenantId,
        holdId: truth.newHoldId(tenant),
        candidates: drawn.candidates.map((candidate, index): Candidate => ({ ...candidate, facts: facts(index) })) as [Candidate, ...Candidate[]],
        rulesRevision: tenant.rules + drawn.rules,
        nowMs: truth.nowMs,
        ttlMs: TTL_MS,
        callDigest: digestOf(drawn.tenant, drawn.call),
        bodyHash: drawn.call === null ? null : drawn.body.repeat(16),
        policy: drawn.policy,
        rule: drawn.rule,
        enforce: drawn.enforce,
        strict: drawn.strict,
      };
      return async (store) => await store.reserve(command);
    },
  }));

const pickHold = (tenant: TenantTruth, pick: number): string => tenant.holdIds[tenant.holdIds.length - 1 - (pick % 8)] ?? 'no hold';

const end = fc
  .record({ tenant: fc.nat(1), pick: fc.nat(7), to: fc.constantFrom('settled' as const, 'released' as const, 'released' as const, 'unresolved' as const) })
  .map(({ tenant, pick, to }): Command => ({
    name: to === 'settled' ? 'settle' : to === 'released' ? 'release' : 'give up',
    tenant,
    prepare: (truth) => {
      const { tenantId } = truth.tenant(tenant);
      const holdId = pickHold(truth.tenant(tenant), pick);
      const { nowMs } = truth;
      const resolution = to === 'unresolved' ? 'expired' : 'release';
      return async (store) => await store.end({ tenantId, holdId, ending: { to, resolution }, nowMs });
    },
  }));

const extend = fc
  .record({
    tenant: fc.nat(1),
    pick: fc.nat(7),
    amountNano: amounts,
    claims,
    rule,
    enforce: fc.boolean(),
    strict: fc.boolean(),
    laterMs: fc.constantFrom(0, 60_000, TTL_MS),
  })
  .map((drawn): Command => ({
    name: 'extend',
    tenant: drawn.tenant,
    prepare: (truth) => {
      const tenant = truth.tenant(drawn.tenant);
      const holdId = pickHold(tenant, drawn.pick);
      const { nowMs } = truth;
      const input = { ...drawn, tenantId: tenant.tenantId, holdId, facts: facts(9), expiresAtMs: nowMs + drawn.laterMs, nowMs };
      return async (store) => {
        const result = await store.extend(input);
        // What of the claim is the rise is told by neither the refusal nor the wallet.
        if (result.kind !== 'refused') return result;
        return { ...result, refusal: { ...result.refusal, claim: result.refusal.claim?.counter ?? null } };
      };
    },
  }));

const balance = fc
  .record({ tenant: fc.nat(1), posted: amounts, step: fc.constantFrom(1n, 1n, 1n, 1n, 1n, 0n, 2n) })
  .map(({ tenant, posted, step }): Command => ({
    name: step === 1n ? 'balance' : step === 0n ? 'old balance' : 'balance after a gap',
    tenant,
    prepare: (truth) => {
      const own = truth.tenant(tenant);
      const change = { tenantId: own.tenantId, seq: own.seq + step, postedNano: step === 0n ? -1n : posted };
      if (step > 0n) Object.assign(own, { seq: change.seq, posted });
      return async (store) => await store.applyBalance(change);
    },
  }));

const counted = fc.record({
  kind: fc.constantFrom(...COUNTERS.filter(({ window }) => window.kind !== 'concurrent')),
  amount: fc.bigInt({ min: -30n, max: 60n }),
  agoMs: fc.constantFrom(0, 0, 5_000, 700_000),
});
const captured = fc.record({
  pick: fc.nat(7),
  byCall: fc.constantFrom(null, null, '1', '2'),
  nano: fc.bigInt({ min: -20n, max: 60n }),
  tokens: fc.bigInt({ min: -5n, max: 40n }),
  requests: fc.constantFrom(0n, 1n, -1n),
  closes: fc.boolean(),
  provisional: fc.constantFrom(false, false, true),
});
const booked = fc
  .record({
    tenant: fc.nat(1),
    captures: fc.array(captured, { maxLength: 3 }),
    counters: fc.array(counted, { maxLength: 3 }),
    step: fc.constantFrom(1n, 1n, 1n, 1n, 1n, 0n, 2n),
  })
  .map(({ tenant, captures, counters, step }): Command => ({
    name: step === 1n ? 'booked' : step === 0n ? 'booked twice' : 'booked after a gap',
    tenant,
    prepare: (truth) => {
      const own = truth.tenant(tenant);
      const batch: BookedBatch = {
        tenantId: own.tenantId,
        seq: own.bookedSeq + step,
        captures: captures.map((capture) => ({
          holdId: capture.byCall === null ? pickHold(own, capture.pick) : null,
          callDigest: digestOf(tenant, capture.byCall),
          signedNano: capture.nano,
          signedTokens: capture.tokens,
          signedRequests: capture.requests,
          closes: capture.closes,
          provisional: capture.provisional,
        })),
        counters: counters.map(({ kind, amount, agoMs }) => ({
          counter: kind.counter,
          window: kind.window as CounterDelta['window'],
          atMs: truth.nowMs - agoMs,
          amount,
        })),
      };
      if (step > 0n) {
        own.bookedSeq = batch.seq;
        for (const delta of batch.counters) own.use(delta);
      }
      const { nowMs } = truth;
      return async (store) => (await store.applyBooked(batch, nowMs)).toSorted((a, b) => (a.holdId < b.holdId ? -1 : 1));
    },
  }));

const pass = fc.constantFrom(1, 900, 30_000, 300_000, TTL_MS, 3_600_000).map((ms): Command => ({
  name: 'pass',
  prepare: (truth) => {
    truth.nowMs += ms;
    return async () => null;
  },
}));

const expire: Command = {
  name: 'expire',
  prepare:
    ({ nowMs }) =>
    async (store) =>
      (await store.expire(nowMs, 10_000)).toSorted((a, b) => (a.holdId < b.holdId ? -1 : 1)),
};

const raise = fc.record({ tenant: fc.nat(1), more: fc.bigInt({ min: -10n, max: 500n }) }).map(({ tenant, more }): Command => ({
  name: 'raise',
  tenant,
  prepare: (truth) => {
    const own = truth.tenant(tenant);
    const ceiling = own.ceiling + more;
    if (more > 0n) own.ceiling = ceiling;
    return async (store) => await store.raiseCeiling(own.tenantId, ceiling < 0n ? 0n : ceiling);
  },
}));

const leased = fc.record({
  tenant: fc.nat(1),
  kind: fc.constantFrom(...LEASED),
  percent: fc.constantFrom(...PERCENTS),
  granted: fc.bigInt({ min: 0n, max: 150n }),
  fenced: fc.constantFrom(0n, 0n, 7n),
});

const leaseOf = (tenant: TenantTruth, kind: CounterKind, percent: number, granted: bigint, fenced: bigint): LeaseGrant => {
  tenant.leaseVersion += 2n;
  return {
    lease: leaseKey(kind.counter, percent),
    granted,
    fenced,
    version: tenant.leaseVersion,
    endsAtMs: kind.window.kind === 'fixed' ? kind.window.endsAtMs : null,
  };
};

const grant = fc.tuple(leased, fc.constantFrom(0n, 0n, 0n, 1n, 20n)).map(([drawn, late]): Command => ({
  name: late === 0n ? 'grant' : 'late grant',
  tenant: drawn.tenant,
  prepare: (truth) => {
    const tenant = truth.tenant(drawn.tenant);
    const row = leaseOf(tenant, drawn.kind, drawn.percent, drawn.granted, drawn.fenced);
    if (late === 0n) tenant.leases.set(row.lease, row);
    const { nowMs } = truth;
    return async (store) => await store.grant(tenant.tenantId, [{ ...row, version: row.version - late }], nowMs);
  },
}));

const lower = fc
  .record({
    of: leased,
    atMost: fc.constantFrom(null, null, 3n),
    onlyAt: fc.constantFrom(null, null, 0n, 5n),
    late: fc.constantFrom(0n, 0n, 4n),
    older: fc.constantFrom(0, 0, 1),
  })
  .map(({ of, atMost, onlyAt, late, older }): Command => ({
    name: 'lower lease',
    tenant: of.tenant,
    prepare: (truth) => {
      const tenant = truth.tenant(of.tenant);
      const known = tenant.leases.get(leaseKey(of.kind.counter, of.percent));
      const row = leaseOf(tenant, of.kind, of.percent, known?.granted ?? of.granted, known?.fenced ?? 0n);
      const input = {
        tenantId: tenant.tenantId,
        grant: { ...row, version: row.version - late },
        atMost,
        onlyAt,
        nextVersion: row.version + 1n,
        rulesRevision: tenant.rules - older,
        nowMs: truth.nowMs,
      };
      return async (store) => {
        const result = await store.lowerLease(input);
        if (result.kind === 'looked') tenant.leases.set(row.lease, { ...row, granted: result.granted });
        return result;
      };
    },
  }));

const change = fc.record({ tenant: fc.nat(1) }).map(({ tenant }): Command => ({
  name: 'change rules',
  prepare: (truth) => {
    truth.tenant(tenant).rules += 1;
    return async () => null;
  },
}));

const forget = fc.nat(1).map((tenant): Command => ({
  name: 'forget',
  prepare: (truth) => {
    const { tenantId } = truth.tenant(tenant);
    return async (store) => await store.forget(tenantId);
  },
}));

const crash = fc.constant<Command>({ name: 'crash', prepare: () => async (_store, crashStore) => await crashStore() });

/** `load` is drawn like the others and run by whoever holds the stores: it reads what one of them knows. */
export const LOAD = 'load';
const load = fc.constantFrom(0, 1).map((tenant): Command => ({ name: `${LOAD} ${tenant}`, tenant, prepare: () => async () => null }));

export const commands: fc.Arbitrary<Command> = fc.oneof(
  { weight: 24, arbitrary: authorize },
  { weight: 5, arbitrary: end },
  { weight: 4, arbitrary: extend },
  { weight: 4, arbitrary: balance },
  { weight: 7, arbitrary: booked },
  { weight: 5, arbitrary: pass },
  { weight: 3, arbitrary: fc.constant(expire) },
  { weight: 4, arbitrary: raise },
  { weight: 5, arbitrary: grant },
  { weight: 3, arbitrary: lower },
  { weight: 1, arbitrary: change },
  { weight: 1, arbitrary: forget },
  { weight: 1, arbitrary: crash },
  { weight: 8, arbitrary: load },
);
