/**
 * For whoever sees something happen in a transaction that books money: notes the alert there, to be raised after the commit
 * (RaiseNotedAlerts). Guarantees: what is noted exists exactly if that transaction commits; finding out or noting it never fails the
 * transaction, for an alert must not hold up money: the failure is undone to a savepoint, counted and reported. Costs no statement where
 * nothing is found.
 */
import { appendOutbox } from '#libs/platform/outbox/outbox.js';
import type { Sql } from '#libs/platform/postgres/database.js';
import { attemptInside } from '#libs/platform/postgres/savepoint.js';
import type { NewAlert } from '../domain/alert.js';
import { toNotedRow } from './noted-alert.js';

export class NoteAlerts {
  /** Attempts that failed since the process started. */
  failures = 0;

  constructor(private readonly onFailure: (error: unknown) => void) {}

  /**
   * @param input.find asks through the `sql` it is given and nothing else of the transaction
   * @returns whether it was found out and noted
   */
  async execute(input: { readonly tx: Sql; readonly find: (sql: Sql) => readonly NewAlert[] | Promise<readonly NewAlert[]> }): Promise<boolean> {
    const failed = await attemptInside(input.tx, async (sql) => await appendOutbox(sql, (await input.find(sql)).map(toNotedRow)));
    if (failed === null) return true;
    this.failures += 1;
    this.onFailure(failed.error);
    return false;
  }
}
