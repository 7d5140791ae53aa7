import { FixedClock } from '#libs/kernel/testing/fixed-clock.js';
import { DomainError } from '#libs/kernel/index.js';
import { HoldJournal } from '../application/hold-journal.js';
import { QuotaFence } from '../application/ports.js';
import { callDigestOf, QuotaService } from '../application/quota-service.js';
import type { ReserveCommand } from '../application/quota-store.js';
import type { Hold } from '../domain/hold.js';
import { FACTS } from '../testing/quota-world.js';
import { NoPools } from '../testing/no-pools.js';
import { MemoryQuotaStore } from './memory-quota-store.js';

class SteadyFence extends QuotaFence {
  override readonly exclusive = true;
  override current(): bigint | null {
    return 1n;
  }
  override onLost(): void {}
}

const clock = new FixedClock();
const emptyWallet = {
  seq: 0n,
  postedNano: 100n,
  holds: [],
  recentCalls: [],
  promisedNano: 0n,
  ceilingNano: 0n,
  bookedSeq: 0n,
  rulesRevision: 0,
  counters: [],
  fencedUntilMs: 0,
};

function ask(holdId: string): ReserveCommand {
  return {
    tenantId: 'acme',
    holdId,
    candidates: [{ amountNano: 60n, claims: [], facts: FACTS }],
    rulesRevision: 0,
    nowMs: clock.now().getTime(),
    ttlMs: 60_000,
    callDigest: callDigestOf('acme', 'call'),
    bodyHash: 'ab',
    policy: 'charge_input',
    rule: { creditLimitNano: 0n },
    enforce: true,
    strict: true,
  };
}

/** A service whose database answers a write only when it is told to. */
function slowDatabase(storeDeadlineMs = 60_000): {
  service: QuotaService;
  writes: { ended: readonly Hold[]; live: readonly Hold[]; answer: (error?: unknown) => void }[];
} {
  const writes: ReturnType<typeof slowDatabase>['writes'] = [];
  const journal = new HoldJournal(
    async (ended, live) =>
      await new Promise<void>((resolve, reject) => writes.push({ ended, live, answer: (error) => (error === undefined ? resolve() : reject(error)) })),
    () => undefined,
  );
  const rows = (): Hold[] => [...new Map(writes.flatMap(({ live }) => live).map((hold) => [hold.holdId, hold])).values()];
  const truth = {
    load: async (ids: readonly string[]) => ids.map((tenantId) => ({ ...emptyWallet, tenantId, holds: rows() })),
    raise: async (_epoch: bigint, raises: readonly { tenantId: string }[]) => new Set(raises.map(({ tenantId }) => tenantId)),
    pools: new NoPools(),
  };
  return { service: new QuotaService(new MemoryQuotaStore(), journal, truth, new SteadyFence(), clock, { storeDeadlineMs }), writes };
}

const turn = async (): Promise<void> => await new Promise((resolve) => setImmediate(resolve));
const away = new DomainError({ code: 'storage.unavailable', kind: 'unavailable', publicMessage: 'away' });

describe('a strict call that is asked for twice', () => {
  it('is not allowed to the second asker before the commit of the first', async () => {
    const { service, writes } = slowDatabase();
    const first = service.reserve(ask('h1'));
    await turn();
    let answered = false;
    const second = service.reserve(ask('h2')).finally(() => (answered = true));
    await turn();
    expect([writes.length, answered]).toEqual([1, false]);
    writes[0]!.answer();
    expect([await first, await second]).toMatchObject([
      { kind: 'held', hold: { holdId: 'h1' } },
      { kind: 'replayed', hold: { holdId: 'h1' } },
    ]);
  });

  it('is asked anew by the second when the commit of the first fails: nobody is promised a hold that was taken back', async () => {
    const { service, writes } = slowDatabase();
    const first = service.reserve(ask('h1'));
    await turn();
    const second = service.reserve(ask('h2'));
    await turn();
    writes[0]!.answer(away);
    await expect(first).rejects.toMatchObject({ code: 'storage.unavailable' });
    for (let next = 1; next < 4; next += 1) {
      await turn();
      writes[next]?.answer();
    }
    expect(await second).toMatchObject({ kind: 'held', hold: { holdId: 'h2' }, wallet: { heldNano: 60n } });
  });

  it('keeps its hold when the first asker was given up and the second was told allow', async () => {
    const { service, writes } = slowDatabase(20);
    await expect(service.reserve(ask('h1'))).rejects.toMatchObject({ code: 'quota.deadline' });
    const second = service.reserve(ask('h2'));
    writes[0]!.answer();
    expect(await second).toMatchObject({ kind: 'replayed', hold: { holdId: 'h1' } });
    await turn();
    expect(await service.store.wallet('acme')).toMatchObject({ heldNano: 60n });
  });

  it('gives the money back when the first asker was given up and nobody asked again', async () => {
    const { service, writes } = slowDatabase(20);
    await expect(service.reserve(ask('h1'))).rejects.toMatchObject({ code: 'quota.deadline' });
    writes[0]!.answer();
    await turn();
    expect(await service.store.wallet('acme')).toMatchObject({ heldNano: 0n });
  });

  it('a hold that was never promised is not remembered: asking again asks again', async () => {
    const { service, writes } = slowDatabase();
    const first = service.reserve(ask('h1'));
    await turn();
    writes[0]!.answer(away);
    await expect(first).rejects.toMatchObject({ code: 'storage.unavailable' });
    const again = service.reserve(ask('h2'));
    await turn();
    expect(writes[1]).toMatchObject({ ended: [{ holdId: 'h1', state: 'released' }], live: [{ holdId: 'h2' }] });
    writes[1]!.answer();
    expect(await again).toMatchObject({ kind: 'held', hold: { holdId: 'h2' }, wallet: { heldNano: 60n } });
  });
});

describe('a release', () => {
  it('finds its hold though the tenant was forgotten meanwhile', async () => {
    const { service, writes } = slowDatabase();
    const asked = service.reserve(ask('h1'));
    await turn();
    writes[0]!.answer();
    const held = await asked;
    await service.store.forget('acme');
    const released = service.release((held as Extract<typeof held, { kind: 'held' }>).hold);
    await turn();
    writes[1]!.answer();
    expect(await released).toMatchObject({ kind: 'ended', hold: { state: 'released' } });
  });
});
