import { DomainError } from '#libs/kernel/index.js';
import { GroupCommit } from './group-commit.js';
import { EventInbox, type InboxEntry, type InboxResult } from './inbox.js';
import { anAdmitted } from '../testing/reports.js';

const entry = (eventId: string): InboxEntry => ({ kind: 'report', admitted: anAdmitted(eventId), asDeadLetter: () => null });
const accepted = (eventId: string): InboxResult => ({ outcome: 'accepted', eventId, tenantId: 'acme' });
const idOf = (one: InboxEntry): string => (one.kind === 'report' ? one.admitted.eventId : '');

/** An inbox whose commits the test ends by hand. */
class HeldInbox extends EventInbox {
  readonly commits: { ids: string[]; end: () => void; fail: (error: unknown) => void }[] = [];

  override async write(entries: readonly InboxEntry[]): Promise<InboxResult[]> {
    return await new Promise((resolve, reject) => {
      const ids = entries.map(idOf);
      this.commits.push({ ids, end: () => resolve(ids.map(accepted)), fail: reject });
    });
  }
}

const turn = async (): Promise<void> => await new Promise((resolve) => setImmediate(resolve));

describe('E1 group commit', () => {
  const limits = { maxBatchEntries: 10, maxQueuedEntries: 4, writers: 1 };

  it('answers nobody before the commit, then each with the results of its own entries', async () => {
    const inbox = new HeldInbox();
    const group = new GroupCommit(inbox, limits);
    let answered = 0;
    const writes = [['a'], ['b', 'c']].map(async (ids) => {
      const results = await group.write(ids.map(entry));
      answered += 1;
      return results.map((result) => result.eventId);
    });
    await turn();
    expect(answered).toBe(0);
    inbox.commits[0]?.end();
    await turn();
    expect(answered).toBe(1);
    inbox.commits[1]?.end();
    expect(await Promise.all(writes)).toEqual([['a'], ['b', 'c']]);
  });

  it('refuses beyond the bound instead of keeping what it may lose, and takes again once there is room', async () => {
    const inbox = new HeldInbox();
    const group = new GroupCommit(inbox, limits);
    const first = group.write(['a', 'b', 'c', 'd'].map(entry));
    await expect(group.write([entry('e')])).rejects.toMatchObject({ code: 'ingest.overloaded', kind: 'unavailable' });
    inbox.commits[0]?.end();
    await first;
    const later = group.write([entry('e')]);
    inbox.commits[1]?.end();
    expect(await later).toEqual([accepted('e')]);
  });

  it('begins a second transaction beside the first only when a full batch waits', async () => {
    const inbox = new HeldInbox();
    const group = new GroupCommit(inbox, { maxBatchEntries: 2, maxQueuedEntries: 10, writers: 2 });
    const writes = [group.write([entry('a')]), group.write([entry('b')])];
    expect(inbox.commits.map(({ ids }) => ids)).toEqual([['a']]);
    writes.push(group.write([entry('c')]), group.write([entry('d')]), group.write([entry('e')]));
    expect(inbox.commits.map(({ ids }) => ids)).toEqual([['a'], ['b', 'c']]);
    inbox.commits[0]?.end();
    await turn();
    expect(inbox.commits[2]?.ids).toEqual(['d', 'e']);
    for (const commit of inbox.commits) commit.end();
    expect((await Promise.all(writes)).flat()).toHaveLength(5);
  });

  it('fails everybody in the batch when the database is away', async () => {
    const inbox = new HeldInbox();
    const write = new GroupCommit(inbox, limits).write([entry('a')]);
    inbox.commits[0]?.fail(new DomainError({ code: 'storage.unavailable', kind: 'unavailable', publicMessage: 'away' }));
    await expect(write).rejects.toMatchObject({ code: 'storage.unavailable' });
  });
});
