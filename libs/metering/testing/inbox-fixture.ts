import type { Database } from '#libs/platform/postgres/database.js';
import type { InboxEntry } from '../application/inbox.js';
import { shardOf } from '../domain/shard.js';
import type { AdmittedReport, PostableEvent } from '../domain/stored-event.js';
import { RecentEvents } from '../memory/recent-events.js';
import { PostgresInbox } from '../postgres/postgres-inbox.js';
import { PostgresPostingStore } from '../postgres/postgres-posting-store.js';

/** The inbox and the poster's tables as one process has them, without the use cases around them. */
export function openInbox(database: Database) {
  const recent = new RecentEvents();
  const inbox = new PostgresInbox(database, recent, { onConflicts: async () => await Promise.resolve() });
  const entryOf = (admitted: AdmittedReport): InboxEntry => ({ kind: 'report', admitted, asDeadLetter: () => null });
  return {
    recent,
    write: async (reports: readonly AdmittedReport[]) => await inbox.write(reports.map(entryOf)),
    /** What a poster takes off the work list of the tenant's shard, in a transaction that is then rolled back. */
    take: async (store: PostgresPostingStore, tenantId: string): Promise<PostableEvent[]> => {
      const stop = new Error('rolled back on purpose');
      let taken: PostableEvent[] = [];
      await database
        .transaction(async (tx) => {
          taken = await store.takePending(tx, shardOf(tenantId), 10_000, null);
          throw stop;
        })
        .catch((error: unknown) => {
          if (error !== stop) throw error;
        });
      return taken;
    },
    /** A poster of this process, and one of another. */
    here: new PostgresPostingStore(recent),
    elsewhere: new PostgresPostingStore(new RecentEvents()),
  };
}
