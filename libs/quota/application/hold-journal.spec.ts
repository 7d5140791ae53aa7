import type { Hold } from '../domain/hold.js';
import { FACTS, TENANT } from '../testing/quota-world.js';
import { HoldJournal } from './hold-journal.js';

const hold = (holdId: string, over: Partial<Hold> = {}): Hold => ({
  holdId,
  tenantId: TENANT,
  kind: 'call',
  state: 'active',
  resolution: null,
  amountNano: 10n,
  capturedNano: 0n,
  capturedTokens: 0n,
  capturedRequests: 0n,
  claims: [],
  callDigest: `digest of ${holdId}`,
  bodyHash: null,
  policy: 'release',
  createdAtMs: 0,
  expiresAtMs: 1_000,
  resolvedAtMs: null,
  facts: FACTS,
  ...over,
});
const released = (holdId: string): Hold => hold(holdId, { state: 'released', resolution: 'release', resolvedAtMs: 1 });

describe('a hold between the store and its row', () => {
  it('is found while its batch is being written: a repeated release or settle must not hear that there is no such hold', async () => {
    const seen: unknown[] = [];
    const journal: HoldJournal = new HoldJournal(
      async () => {
        await Promise.resolve();
        seen.push(journal.find('short')?.state, journal.find('live')?.state, journal.findByCall(TENANT, 'digest of live')?.holdId);
        seen.push(journal.findByCall('another tenant', 'digest of live'));
      },
      () => undefined,
    );
    journal.note(released('short'));
    journal.note(hold('live'));
    await journal.flush();
    expect(seen).toEqual(['released', 'active', 'live', null]);
    expect([journal.find('short')?.state, journal.find('live')]).toEqual(['released', null]);
  });

  it('leaves no row when it ended before its batch, and its end is written when it did not', async () => {
    const written: string[] = [];
    const journal = new HoldJournal(
      async (ended, live) => void written.push(`ended ${ended.map((row) => row.holdId).join()} live ${live.map((row) => row.holdId).join()}`),
      () => undefined,
    );
    journal.note(hold('long'));
    journal.note(released('short'));
    await journal.flush();
    journal.note(released('long'));
    await journal.flush();
    expect(written).toEqual(['ended  live long', 'ended long live ']);
  });

  it('is written when a flush that began after it ends, also where another batch took it meanwhile', async () => {
    const begun: string[][] = [];
    const ends: (() => void)[] = [];
    const journal = new HoldJournal(
      async (_ended, live) => {
        begun.push(live.map((row) => row.holdId));
        await new Promise<void>((resolve) => ends.push(resolve));
      },
      () => undefined,
    );
    journal.note(hold('first'));
    const first = journal.flush();
    const committed = journal.commit(hold('asked'), 1n);
    journal.note(hold('extended'));
    let flushed = false;
    const flush = journal.flush().then(() => (flushed = true));
    ends[0]?.();
    await first;
    await new Promise((resolve) => setImmediate(resolve));
    expect([begun, flushed]).toEqual([[['first'], ['asked', 'extended']], false]);
    ends[1]?.();
    await Promise.all([committed, flush]);
  });

  it('that the database refuses fails alone, and nobody else waits in vain', async () => {
    const journal = new HoldJournal(
      async (_ended, live) => {
        if (live.some((row) => row.holdId === 'poison')) throw new Error('refused');
        await Promise.resolve();
      },
      () => undefined,
    );
    const outcomes = await Promise.allSettled(['a', 'poison', 'b'].map(async (holdId) => await journal.commit(hold(holdId), 1n)));
    expect(outcomes.map((outcome) => outcome.status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
  });
});
