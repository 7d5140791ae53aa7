/** What every quota store guarantees, whatever it keeps its state in. Each test has tenants of its own, some with hostile ids. */
import type { Candidate, QuotaStore, ReserveCommand, ReserveResult, TenantSnapshot } from '../../libs/quota/application/quota-store.js';
import type { Hold } from '../../libs/quota/domain/hold.js';
import { leaseKey, type LeaseGrant } from '../../libs/quota/domain/lease.js';
import { FACTS } from '../../libs/quota/testing/quota-world.js';
import { claimOn, COUNTERS } from './quota-truth.js';
import type { OpenStore } from './quota-stores.js';

const NOW_MS = Date.UTC(2026, 10, 22, 12);
const TTL_MS = 15 * 60_000;
const HOSTILE = ['}x', 'a:b', 'a}b', '{', '{}', 'tenant with spaces', 'ü{x}', '\u0001', 'a\nb'];

let tenants = 0;
/** Unlike any other's, whatever was kept from an earlier run. */
const newTenant = (id: string): string => `${id}${(tenants += 1)}`;

export function snapshotOf(tenantId: string, more: Partial<TenantSnapshot> = {}): TenantSnapshot {
  return {
    tenantId,
    seq: 0n,
    postedNano: 100n,
    holds: [],
    recentCalls: [],
    promisedNano: 0n,
    ceilingNano: 1_000n,
    bookedSeq: 0n,
    rulesRevision: 0,
    counters: [],
    fencedUntilMs: 0,
    ...more,
  };
}

let holds = 0;
export function command(tenantId: string, amountNano: bigint, more: Partial<ReserveCommand> = {}): ReserveCommand {
  return {
    tenantId,
    holdId: `hold-${(holds += 1)}`,
    candidates: [{ amountNano, claims: [], facts: FACTS }],
    rulesRevision: 0,
    nowMs: NOW_MS,
    ttlMs: TTL_MS,
    callDigest: null,
    bodyHash: null,
    policy: 'charge_hold',
    rule: { creditLimitNano: 0n },
    enforce: true,
    strict: false,
    ...more,
  };
}

function heldBy(result: ReserveResult): Hold {
  if (result.kind !== 'held') throw new Error(`not held: ${result.kind}`);
  return result.hold;
}

/** The store of the suite that runs, and the tenant of the test that runs. */
let store: QuotaStore;
let tenantId: string;

const heldNano = async (id = tenantId): Promise<bigint | 'unknown'> => {
  const wallet = await store.wallet(id);
  return wallet === 'unknown' ? wallet : wallet.heldNano;
};
const release = async (holdId: string, id = tenantId): Promise<string> =>
  (await store.end({ tenantId: id, holdId, ending: { to: 'released', resolution: 'release' }, nowMs: NOW_MS })).kind;

export function describeQuotaStore(open: () => OpenStore): void {
  beforeEach(async () => {
    ({ store } = open());
    tenantId = newTenant(HOSTILE[tenants % HOSTILE.length] ?? 'tenant');
    await store.load([snapshotOf(tenantId)], NOW_MS);
  });
  describePromises();
  describeLimits();
  describeCalls();
  describeLeases();
  describeBookings();
  describeLoads(open);
}

function describePromises(): void {
  it('H6 a tenant nobody loaded is unknown to every question, never empty', async () => {
    const id = newTenant('nobody');
    const answers = [
      (await store.reserve(command(id, 0n))).kind,
      await store.wallet(id),
      await release('hold-x', id),
      await store.limits({ tenantId: id, claims: [], rulesRevision: 0, nowMs: NOW_MS }),
    ];
    expect([...answers, await store.applyBalance({ tenantId: id, seq: 1n, postedNano: 5n })]).toEqual(['unknown', 'unknown', 'unknown', null, 'unknown']);
  });

  it('H1 of many at once exactly those are held that the balance covers', async () => {
    const asked = await Promise.all(Array.from({ length: 50 }, async () => await store.reserve(command(tenantId, 10n))));
    expect(asked.filter((result) => result.kind === 'held')).toHaveLength(10);
    expect(asked.flatMap((result) => (result.kind === 'refused' ? [result.refusal.code] : []))).toEqual(
      Array.from({ length: 40 }, () => 'in_flight_exhausted'),
    );
    expect(await heldNano()).toBe(100n);
  });

  it('tenants with ids that look like keys of another share nothing', async () => {
    const ids = HOSTILE.map(newTenant);
    await store.load(
      ids.map((id, index) => snapshotOf(id, { postedNano: BigInt(index + 1) })),
      NOW_MS,
    );
    for (const [index, id] of ids.entries()) await store.reserve(command(id, BigInt(index + 1)));
    const wallets = await Promise.all(ids.map(async (id) => await store.wallet(id)));
    expect(wallets.map((wallet) => (wallet === 'unknown' ? wallet : [wallet.postedNano, wallet.heldNano]))).toEqual(
      ids.map((_id, index) => [BigInt(index + 1), BigInt(index + 1)]),
    );
  });

  it('nothing is promised beyond the committed ceiling, and raising it never lowers it', async () => {
    await store.forget(tenantId);
    await store.load([snapshotOf(tenantId, { promisedNano: 9_000_000_000_000_000_000n, ceilingNano: 9_000_000_000_000_000_010n })], NOW_MS);
    expect(await store.reserve(command(tenantId, 11n))).toEqual({ kind: 'above_ceiling', promisedNano: 9_000_000_000_000_000_011n });
    await store.raiseCeiling(tenantId, 9_000_000_000_000_000_012n);
    await store.raiseCeiling(tenantId, 9_000_000_000_000_000_001n);
    expect(await store.reserve(command(tenantId, 11n))).toMatchObject({ kind: 'held', coveredNano: 1n });
    expect(await store.wallet(tenantId)).toMatchObject({ promisedNano: 9_000_000_000_000_000_011n, ceilingNano: 9_000_000_000_000_000_012n });
  });

  it('M1 amounts up to 9e15 stay exact to the last nano-dollar', async () => {
    await store.applyBalance({ tenantId, seq: 1n, postedNano: 9_000_000_000_000_000n });
    const nearly = heldBy(await store.reserve(command(tenantId, 8_999_999_999_999_999n, { strict: true })));
    expect((await store.reserve(command(tenantId, 2n))).kind).toBe('refused');
    expect((await store.reserve(command(tenantId, 1n))).kind).toBe('held');
    expect(await heldNano()).toBe(9_000_000_000_000_000n);
    await release(nearly.holdId);
    expect(await heldNano()).toBe(1n);
    const before = await store.wallet(tenantId);
    if (before === 'unknown') throw new Error('the tenant is unknown');
    const ceilingNano = before.ceilingNano + 1_000_000_000_000_001n;
    await store.raiseCeiling(tenantId, ceilingNano);
    expect(await store.wallet(tenantId)).toMatchObject({ ceilingNano, promisedNano: before.promisedNano });
  });
}

function describeLimits(): void {
  it('H4 a call that one limit refuses leaves no trace on the others', async () => {
    const [usd, , , requests] = COUNTERS;
    if (!usd || !requests) throw new Error('no counters');
    const claims = [claimOn(usd, { amount: 5n, blockAt: 50n }), claimOn(requests, { amount: 1n, blockAt: 0n })];
    const refused = await store.reserve(command(tenantId, 5n, { candidates: [{ amountNano: 5n, claims, facts: FACTS }] }));
    expect(refused.kind).toBe('refused');
    const views = await store.limits({ tenantId, claims, rulesRevision: 0, nowMs: NOW_MS });
    expect([await heldNano(), views?.map(({ used, held }) => used + held)]).toEqual([0n, [0n, 0n]]);
  });

  it('500 refused calls of an exhausted user refuse none of 250 fitting calls of another', async () => {
    const [kind] = COUNTERS;
    if (!kind) throw new Error('no counter');
    await store.applyBalance({ tenantId, seq: 1n, postedNano: 250n });
    // What everybody may take together is just what fits.
    const ofUser = (user: string, blockAt: bigint, amount: bigint): ReserveCommand => {
      const claims = [claimOn({ ...kind, counter: 'everybody' }, { amount, blockAt: 250n }), claimOn({ ...kind, counter: user }, { amount, blockAt })];
      return command(tenantId, amount, { candidates: [{ amountNano: amount, claims, facts: FACTS }] });
    };
    const asked = Array.from({ length: 750 }, async (_value, index) =>
      index % 3 === 2 ? await store.reserve(ofUser('saver', 1_000n, 1n)) : await store.reserve(ofUser('spender', 0n, 100n)),
    );
    const kinds = (await Promise.all(asked)).map((result, index) => `${index % 3 === 2 ? 'saver' : 'spender'} ${result.kind}`);
    expect(kinds.filter((told) => told === 'saver held')).toHaveLength(250);
    expect(kinds.filter((told) => told === 'spender refused')).toHaveLength(500);
  });

  it('rules older than the store knows are stale; newer ones make the tenant unknown', async () => {
    await store.forget(tenantId);
    await store.load([snapshotOf(tenantId, { rulesRevision: 5 })], NOW_MS);
    expect((await store.reserve(command(tenantId, 1n, { rulesRevision: 4 }))).kind).toBe('stale_rules');
    expect((await store.reserve(command(tenantId, 1n, { rulesRevision: 6 }))).kind).toBe('unknown');
    expect(await heldNano()).toBe('unknown');
  });

  it('the first of a ladder that fits is taken, and what it is judged by is told', async () => {
    const [kind] = COUNTERS;
    if (!kind) throw new Error('no counter');
    const step = (amountNano: bigint, blockAt: bigint): Candidate => ({ amountNano, claims: [claimOn(kind, { amount: amountNano, blockAt })], facts: FACTS });
    const result = await store.reserve(command(tenantId, 0n, { candidates: [step(60n, 50n), step(55n, 50n), step(5n, 50n)] }));
    expect(result).toMatchObject({ kind: 'held', index: 2, why: 'budget_downgrade', hold: { amountNano: 5n }, claim: { counter: kind.counter } });
    await release(heldBy(result).holdId);
    expect(await heldNano()).toBe(0n);
  });
}

function describeLeases(): void {
  const [kind] = COUNTERS;
  if (!kind) throw new Error('no counter');
  const lease = leaseKey(kind.counter, 100);
  const grantOf = (granted: bigint, version: bigint): LeaseGrant => ({ lease, granted, fenced: 0n, version, endsAtMs: null });
  const ask = (amount: bigint, isFinal: boolean): ReserveCommand => {
    const claims = [claimOn(kind, { amount, blockAt: 100n, lease: { block: 100, downgrade: null, isFinal } })];
    return command(tenantId, 0n, { candidates: [{ amountNano: 0n, claims, facts: FACTS }] });
  };
  const lower = async (granted: bigint, version: bigint, nextVersion: bigint) =>
    await store.lowerLease({ tenantId, grant: grantOf(granted, version), atMost: null, onlyAt: null, nextVersion, rulesRevision: 0, nowMs: NOW_MS });

  it('H7 of a shared limit a tenant takes what it was granted, asks for more, and is refused where there is none', async () => {
    expect(await store.reserve(ask(5n, false))).toMatchObject({
      kind: 'short_of_lease',
      shorts: [{ lease, counter: kind.counter, committed: 0n, amount: 5n }],
    });
    await store.grant(tenantId, [grantOf(8n, 1n)], NOW_MS);
    expect((await store.reserve(ask(5n, false))).kind).toBe('held');
    expect(await store.reserve(ask(4n, true))).toMatchObject({ kind: 'refused', refusal: { code: 'global_lease', retryAfterMs: 1_000 } });
    expect(await store.reserve(ask(101n, false))).toMatchObject({ kind: 'refused', refusal: { code: 'too_large' } });
    expect((await store.reserve(ask(3n, true))).kind).toBe('held');
  });

  it('F22 a telling that is older than a lowering or a load gives nothing back', async () => {
    await store.grant(tenantId, [grantOf(50n, 3n)], NOW_MS);
    await store.reserve(ask(20n, true));
    expect(await lower(50n, 4n, 5n)).toEqual({ kind: 'looked', granted: 20n, committed: 20n, bookedSeq: 0n });
    await store.grant(tenantId, [grantOf(50n, 3n)], NOW_MS);
    expect((await store.reserve(ask(1n, true))).kind).toBe('refused');
    expect(await lower(50n, 4n, 6n)).toEqual({ kind: 'newer' });
    await store.forget(tenantId);
    await store.load([snapshotOf(tenantId, { leases: { grants: [], from: 9n } })], NOW_MS);
    await store.grant(tenantId, [grantOf(50n, 9n)], NOW_MS);
    expect((await store.reserve(ask(1n, true))).kind).toBe('refused');
    await store.grant(tenantId, [grantOf(50n, 10n)], NOW_MS);
    expect((await store.reserve(ask(1n, true))).kind).toBe('held');
  });
}

function describeCalls(): void {
  it('H3 of two endings at once one wins, and the money is given back once', async () => {
    const { holdId } = heldBy(await store.reserve(command(tenantId, 30n)));
    await store.reserve(command(tenantId, 40n));
    const endings = await Promise.all(Array.from({ length: 8 }, async () => await release(holdId)));
    expect(endings.toSorted()).toEqual(['ended', ...Array.from({ length: 7 }, () => 'not_found')]);
    expect(await heldNano()).toBe(40n);
  });

  it('H5 a call has one hold: replayed while it lives, refused afterwards, another body never', async () => {
    const call = { callDigest: `aa${tenants}`.padEnd(32, '0'), bodyHash: 'cc'.repeat(16) };
    const { holdId } = heldBy(await store.reserve(command(tenantId, 30n, call)));
    const again = await store.reserve(command(tenantId, 30n, call));
    expect([again.kind, again.kind === 'replayed' && again.hold.holdId]).toEqual(['replayed', holdId]);
    expect((await store.reserve(command(tenantId, 30n, { ...call, bodyHash: 'dd'.repeat(16) }))).kind).toBe('other_body');
    await release(holdId);
    expect((await store.reserve(command(tenantId, 30n, call))).kind).toBe('already_resolved');
    expect((await store.reserve(command(tenantId, 30n, { ...call, nowMs: NOW_MS + 17 * 60_000 }))).kind).toBe('held');
  });
}

function describeBookings(): void {
  it('a balance is applied in order and once; after a gap the tenant is unknown', async () => {
    const apply = async (seq: bigint): Promise<string> => await store.applyBalance({ tenantId, seq, postedNano: seq });
    expect([await apply(1n), await apply(1n), await apply(2n), await apply(4n), await heldNano()]).toEqual(['applied', 'old', 'applied', 'gap', 'unknown']);
  });

  it('H8 what is booked leaves the hold and enters the counter in one step, and only once', async () => {
    const [kind] = COUNTERS;
    if (kind?.window.kind !== 'fixed') throw new Error('no counter');
    const claims = [claimOn(kind, { amount: 30n, blockAt: 50n })];
    const { holdId } = heldBy(await store.reserve(command(tenantId, 30n, { candidates: [{ amountNano: 30n, claims, facts: FACTS }] })));
    const capture = { holdId, callDigest: null, signedNano: 12n, signedTokens: 0n, signedRequests: 1n, closes: true, provisional: false };
    const batch = { tenantId, seq: 1n, captures: [capture], counters: [{ counter: kind.counter, window: kind.window, atMs: NOW_MS, amount: 12n }] };
    expect((await store.applyBooked(batch, NOW_MS)).map((hold) => [hold.holdId, hold.state])).toEqual([[holdId, 'settled']]);
    expect(await store.applyBooked(batch, NOW_MS)).toEqual([]);
    const views = await store.limits({ tenantId, claims, rulesRevision: 0, nowMs: NOW_MS });
    expect([await heldNano(), views?.map(({ used, held }) => [used, held])]).toEqual([0n, [[12n, 0n]]]);
  });

  it('H8 a hold leaves the sub-bucket it was asked in, whenever it ends: what is left of it later is nothing, not less', async () => {
    const [, , , kind] = COUNTERS;
    if (kind?.window.kind !== 'rolling') throw new Error('no rolling counter');
    const claims = [claimOn(kind, { amount: 30n, blockAt: 50n })];
    const { holdId } = heldBy(await store.reserve(command(tenantId, 30n, { candidates: [{ amountNano: 30n, claims, facts: FACTS }] })));
    const heldAt = async (nowMs: number): Promise<unknown> => (await store.limits({ tenantId, claims, rulesRevision: 0, nowMs }))?.map(({ held }) => held);
    const { bucketMs } = kind.window;
    await store.end({ tenantId, holdId, ending: { to: 'released', resolution: 'release' }, nowMs: NOW_MS + 10 * bucketMs });
    expect([await heldAt(NOW_MS + 10 * bucketMs), await heldAt(NOW_MS + 65 * bucketMs)]).toEqual([[0n], [0n]]);
  });

  it('a hold that runs out becomes unresolved and keeps its money until it is charged', async () => {
    const { holdId } = heldBy(await store.reserve(command(tenantId, 30n)));
    expect(await store.expire(NOW_MS + TTL_MS, 10)).toEqual([]);
    const ended = await store.expire(NOW_MS + TTL_MS + 250, 1_000);
    expect(ended.filter((hold) => hold.holdId === holdId).map((hold) => hold.state)).toEqual(['unresolved']);
    expect(await heldNano()).toBe(30n);
    const charge = { holdId, callDigest: null, signedNano: 30n, signedTokens: 0n, signedRequests: 0n, closes: false, provisional: true };
    await store.applyBooked({ tenantId, seq: 1n, captures: [charge], counters: [] }, NOW_MS + TTL_MS);
    expect(await heldNano()).toBe(0n);
  });

  it('a late event settles a hold that ran out, and its call ended when it ran out', async () => {
    const { holdId } = heldBy(await store.reserve(command(tenantId, 30n)));
    const ranOutAt = NOW_MS + TTL_MS + 250;
    expect((await store.expire(ranOutAt, 1_000)).some((hold) => hold.holdId === holdId)).toBe(true);
    const late = { holdId, callDigest: null, signedNano: 12n, signedTokens: 0n, signedRequests: 1n, closes: true, provisional: false };
    const booked = await store.applyBooked({ tenantId, seq: 1n, captures: [late], counters: [] }, ranOutAt + 3_600_000);
    expect(booked.map(({ state, resolvedAtMs }) => [state, resolvedAtMs])).toEqual([['settled', ranOutAt]]);
  });
}

function describeLoads(open: () => OpenStore): void {
  it('a loaded tenant holds what its rows say, and a second load changes nothing', async () => {
    const { holdId } = heldBy(await store.reserve(command(tenantId, 30n)));
    const hold = (await store.locate(holdId, tenantId)) as Hold;
    await store.load([snapshotOf(tenantId, { postedNano: 7n })], NOW_MS);
    expect(await store.wallet(tenantId)).toMatchObject({ postedNano: 100n, heldNano: 30n });
    await store.forget(tenantId);
    await store.load([snapshotOf(tenantId, { holds: [hold] })], NOW_MS);
    expect([await heldNano(), await store.locate(holdId, tenantId)]).toEqual([30n, hold]);
  });

  it('F16 after a loss nothing that was known counts, whatever the server still has', async () => {
    await store.reserve(command(tenantId, 30n));
    await open().crash();
    expect([(await store.reserve(command(tenantId, 1n))).kind, await heldNano()]).toEqual(['unknown', 'unknown']);
    await store.load([snapshotOf(tenantId, { postedNano: 40n })], NOW_MS);
    expect(await store.wallet(tenantId)).toMatchObject({ postedNano: 40n, heldNano: 0n });
  });
}
