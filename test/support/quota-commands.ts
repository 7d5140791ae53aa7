/**
 * Random commands for a quota store, and what its truth would tell a load: enough of a database to rebuild from, none of a decision.
 * A command runs on any store and answers what can be compared; the truth changes once per command, whatever stores run it.
 */
import fc from 'fast-check';
import type { BookedBatch, Candidate, ReserveCommand } from '../../libs/quota/application/quota-store.js';
import type { CallFacts } from '../../libs/quota/domain/hold.js';
import type { CounterDelta } from '../../libs/quota/domain/limit.js';
import { FACTS } from '../../libs/quota/testing/quota-world.js';
import { grant, lateGrant, LEASES, lower } from './lease-commands.js';
import { claimOn, COUNTERS, HUGE, TTL_MS, type Command, type TenantTruth } from './quota-truth.js';

/** How many random histories are run, and from which seed: a longer run, or one again. */
export const HISTORIES = Number(process.env['QUOTA_HISTORIES'] ?? 150);
/** Histories that go through all pairs of commands: few, because each has hundreds of commands. */
export const WALKS = Math.ceil(HISTORIES / 100);
/** Of limits that all tenants share: each goes through HTTP and PostgreSQL. */
export const SHARED_HISTORIES = Number(process.env['QUOTA_SHARED_HISTORIES'] ?? 12);
export const SEED = process.env['QUOTA_SEED'] ? Number(process.env['QUOTA_SEED']) : null;

const amounts = fc.oneof({ weight: 8, arbitrary: fc.bigInt({ min: 0n, max: 60n }) }, { weight: 1, arbitrary: fc.constantFrom(HUGE, HUGE + 1n) });

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

const end = (name: string, to: 'settled' | 'released' | 'unresolved'): fc.Arbitrary<Command> =>
  fc.record({ tenant: fc.nat(1), pick: fc.nat(7) }).map(({ tenant, pick }): Command => ({
    name,
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

const balance = (name: string, step: bigint): fc.Arbitrary<Command> =>
  fc.record({ tenant: fc.nat(1), posted: amounts }).map(({ tenant, posted }): Command => ({
    name,
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
const booked = (name: string, step: bigint): fc.Arbitrary<Command> =>
  fc
    .record({
      tenant: fc.nat(1),
      captures: fc.array(captured, { maxLength: 3 }),
      counters: fc.array(counted, { maxLength: 3 }),
    })
    .map(({ tenant, captures, counters }): Command => ({
      name,
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
const load = (tenant: number): fc.Arbitrary<Command> => fc.constant({ name: `${LOAD} ${tenant}`, tenant, prepare: () => async () => null });

const KINDS: readonly (readonly [weight: number, arbitrary: fc.Arbitrary<Command>])[] = [
  [72, authorize],
  [4, end('settle', 'settled')],
  [8, end('release', 'released')],
  [4, end('give up', 'unresolved')],
  [12, extend],
  [10, balance('balance', 1n)],
  [2, balance('old balance', 0n)],
  [2, balance('balance after a gap', 2n)],
  [15, booked('booked', 1n)],
  [3, booked('booked twice', 0n)],
  [3, booked('booked after a gap', 2n)],
  [15, pass],
  [9, fc.constant(expire)],
  [12, raise],
  [9, grant],
  [6, lateGrant],
  [9, lower],
  [3, change],
  [3, forget],
  [3, crash],
  [12, load(0)],
  [12, load(1)],
];
export const KINDS_OF_COMMANDS = KINDS.length;

export const commands: fc.Arbitrary<Command> = fc.oneof(...KINDS.map(([weight, arbitrary]) => ({ weight, arbitrary })));

/**
 * A history in which every kind of command follows every kind, itself too, exactly once: the Lyndon words of at most two letters, in order,
 * are a de Bruijn cycle; its first letter is said again at its end. Which kind is which letter is drawn.
 */
export const walks: fc.Arbitrary<Command[]> = fc.shuffledSubarray([...KINDS.keys()], { minLength: KINDS.length }).chain((letters) => {
  const cycle = letters.flatMap((first, index) => [first, ...letters.slice(index + 1).flatMap((second) => [first, second])]);
  return fc.tuple(...[...cycle, letters[0] ?? 0].map((kind) => KINDS[kind]?.[1] ?? authorize));
});
