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

describe('H9 the charge of a hold that ran out', () => {
  it('takes what the hold keeps at that moment, when an earlier try failed and something was paid since', async () => {
    const world = await makeWorld();
    world.disk.book(100n, []);
    await ask(world, 'h', { amountNano: 40n, policy: 'charge_hold' });
    world.clock.advance(TTL_MS + MINUTE_MS);
    world.inboxAway = true;
    await expect(world.sweep.execute()).rejects.toMatchObject({ code: 'storage.unavailable' });
    world.disk.book(-30n, [{ holdId: 'h', callDigest: null, signedNano: 30n, closes: false, provisional: false }]);
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
