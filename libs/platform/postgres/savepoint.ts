import type { Sql } from './database.js';

/**
 * Runs `work` so that its failure undoes nothing but itself: the caller's transaction goes on as if it had never been tried. Costs nothing
 * where `work` asks the database nothing.
 * @returns the error of `work`, or null @throws that error where the transaction itself is lost (the connection died)
 */
export async function attemptInside(tx: Sql, work: (sql: Sql) => Promise<void>): Promise<{ readonly error: unknown } | null> {
  let open = false;
  const begin = async (): Promise<void> => {
    if (!open) await tx.execute('SAVEPOINT attempt');
    open = true;
  };
  const guarded: Sql = {
    query: async <Row extends object>(...args: Parameters<Sql['query']>) => {
      await begin();
      return await tx.query<Row>(...args);
    },
    execute: async (...args) => {
      await begin();
      return await tx.execute(...args);
    },
    copy: async (...args) => {
      await begin();
      return await tx.copy(...args);
    },
  };
  try {
    await work(guarded);
    if (open) await tx.execute('RELEASE SAVEPOINT attempt');
    return null;
  } catch (error) {
    if (!open) return { error };
    try {
      await tx.execute('ROLLBACK TO SAVEPOINT attempt');
      await tx.execute('RELEASE SAVEPOINT attempt');
    } catch {
      throw error;
    }
    return { error };
  }
}
