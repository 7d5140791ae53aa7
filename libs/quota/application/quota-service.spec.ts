import { setImmediate as oneTurn } from 'node:timers/promises';
import { TENANT, World } from '../testing/quota-world.js';

const MINUTE_MS = 60_000;
const TTL_MS = 15 * MINUTE_MS;

function gate(): { readonly closed: Promise<void>; readonly open: () => void } {
  let open = (): void => undefined;
  const closed = new Promise<void>((resolve) => (open = resolve));
  return { closed, open };
}

async function makeWorld(deadlineMs?: number): Promise<World> {
  const world = new World(deadlineMs);
  await world.service.load(TENANT);
  return world;
}

const ask = (world: World, holdId: string, more: { amountNano?: bigint; policy?: 'charge_hold' | 'release'; strict?: boolean } = {}) =>
  world.service.reserve(
    world.command({
      holdId,
      amountNano: 10n,
      callDigest: 'aa'.repeat(16),
      bodyHash: '01',
      policy: 'release',
      strict: true,
      rule: { creditLimitNano: 100n },
      ...more,
    }),
  );
const heldNano = async (world: World): Promise<bigint> => {
  const wallet = await world.store.wallet(TENANT);
  return wallet === 'unknown' ? -1n : wallet.heldNano;
};

describe('a promise that takes too long', () => {
  it('is taken back, and is no answer to the call: asking again asks again', async () => {
    const world = await makeWorld(1);
    const slow = gate();
    world.writeGate = slow.closed;
    await expect(ask(world, 'first')).rejects.toMatchObject({ code: 'quota.deadline' });
    slow.open();
    await world.journal.flush();
    await oneTurn();
    expect(await heldNano(world)).toBe(0n);
    expect(await ask(world, 'second')).toMatchObject({ kind: 'held', hold: { holdId: 'second' } });
    world.crash();
    await world.service.load(TENANT);
    expect(await ask(world, 'third')).toMatchObject({ kind: 'replayed', hold: { holdId: 'second' } });
  });

  it('stays when somebody who asked the same was promised it meanwhile', async () => {
    const world = await makeWorld(1);
    const slow = gate();
    world.writeGate = slow.closed;
    await expect(ask(world, 'first')).rejects.toMatchObject({ code: 'quota.deadline' });
    const again = ask(world, 'second');
    slow.open();
    expect(await again).toMatchObject({ kind: 'replayed', hold: { holdId: 'first' } });
    await world.journal.flush();
    await oneTurn();
    expect(await heldNano(world)).toBe(10n);
  });
});

describe('F22 a process that is stopped between a promise and its answer', () => {
  it.each([true, false])('does not tell a promise that ran out meanwhile (strict %s)', async (strict) => {
    const world = await makeWorld(2 * TTL_MS);
    const { reserve } = world.store;
    world.store.reserve = async (command) => {
      const result = await reserve.call(world.store, command);
      world.clock.advance(TTL_MS);
      return result;
    };
    await expect(ask(world, 'h', { strict, amountNano: 0n })).rejects.toMatchObject({ code: 'quota.deadline' });
    await world.journal.flush();
    expect(await world.store.locate('h')).toBeNull();
  });
});

describe('H9 the charge of a hold that ran out', () => {
  it('takes what the hold keeps at that moment, when an earlier try failed and something was paid since', async () => {
    const world = await makeWorld();
    world.disk.book(100n, []);
    await ask(world, 'h', { amountNano: 40n, policy: 'charge_hold' });
    world.clock.advance(TTL_MS + MINUTE_MS);
    world.inboxAway = true;
    await expect(world.sweep.execute()).rejects.toMatchObject({ code: 'storage.unavailable' });
    world.disk.book(-30n, [{ holdId: 'h', callDigest: null, signedNano: 30n, signedTokens: 0n, signedRequests: 0n, closes: false, provisional: false }]);
    await world.relay(0);
    world.inboxAway = false;
    await world.sweep.execute();
    await world.relay(0);
    expect([world.disk.posted, await heldNano(world)]).toEqual([60n, 0n]);
  });

  it('is not made when the hold was released meanwhile', async () => {
    const world = await makeWorld();
    await ask(world, 'h', { amountNano: 40n, policy: 'charge_hold' });
    world.clock.advance(TTL_MS + MINUTE_MS);
    world.inboxAway = true;
    await expect(world.sweep.execute()).rejects.toMatchObject({ code: 'storage.unavailable' });
    const open = await world.store.locate('h');
    await world.service.release(open!);
    world.inboxAway = false;
    await world.sweep.execute();
    expect(world.disk.posted).toBe(0n);
  });

  it('of a call that has another report is left to that report, and five minutes later the hold is over', async () => {
    const world = await makeWorld();
    await ask(world, 'h', { amountNano: 40n, policy: 'charge_hold' });
    world.reportedCalls.add('aa'.repeat(16));
    world.clock.advance(TTL_MS + MINUTE_MS);
    await world.sweep.execute();
    await world.sweep.findForgotten();
    expect([world.disk.posted, await heldNano(world)]).toEqual([0n, 40n]);
    world.clock.advance(5 * MINUTE_MS);
    await world.sweep.findForgotten();
    await world.journal.flush();
    expect([world.disk.posted, await heldNano(world)]).toEqual([0n, 0n]);
    expect(world.disk.rows.get('h')).toMatchObject({ state: 'settled', resolution: 'reported_before' });
  });
});

describe('H6 the right to promise', () => {
  it('lost while a tenant was being read: what was read may be old, and nothing is promised on it', async () => {
    const world = new World();
    const slow = gate();
    world.loadGate = slow.closed;
    const asked = ask(world, 'h', { strict: false, amountNano: 0n });
    await oneTurn();
    world.fence.epoch = null;
    slow.open();
    await expect(asked).rejects.toMatchObject({ code: 'quota.fenced' });
    expect(await world.store.wallet(TENANT)).toBe('unknown');
  });

  it('lost in the moment in which a strict hold was committed: it is taken back', async () => {
    const world = await makeWorld();
    const write = world.disk.write.bind(world.disk);
    world.disk.write = (ended, live) => {
      write(ended, live);
      world.fence.epoch = null;
    };
    await expect(ask(world, 'h')).rejects.toMatchObject({ code: 'quota.fenced' });
    expect(await heldNano(world)).toBe(0n);
  });

  it('a balance that misses the one before it makes the tenant unknown, and an older one changes nothing', async () => {
    const world = await makeWorld();
    expect(await world.store.applyBalance({ tenantId: TENANT, seq: 1n, postedNano: 50n })).toBe('applied');
    expect(await world.store.applyBalance({ tenantId: TENANT, seq: 1n, postedNano: 99n })).toBe('old');
    expect(await world.store.wallet(TENANT)).toMatchObject({ postedNano: 50n });
    expect(await world.store.applyBalance({ tenantId: TENANT, seq: 3n, postedNano: 70n })).toBe('gap');
    expect(await world.store.wallet(TENANT)).toBe('unknown');
  });
});
