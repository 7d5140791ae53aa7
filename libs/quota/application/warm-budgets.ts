/**
 * Makes the counters of a new version of a budget exact: what was booked before anybody counted it is added up in one snapshot, what was
 * booked since is put aside by the posting transaction, numbered, and added to it. Until then the budget refuses nothing.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Database } from '#libs/platform/postgres/database.js';
import type { Budget } from '../domain/budget.js';
import type { BudgetStore } from './budget-store.js';
import type { RuleBook } from './rule-book.js';

/** Back-fills one budget. True when it is exact now; false when it has changed meanwhile. @throws DomainError storage.unavailable */
export type BackFill = (budget: Budget) => Promise<boolean>;

const ROUND = 20;
/** How long a change waits for its counters; a tenant with a long history gets its answer before. */
const SOON_MS = 5_000;

export class WarmBudgets {
  private readonly running = new Map<string, Promise<boolean>>();

  constructor(
    private readonly database: Database,
    private readonly store: BudgetStore,
    private readonly rules: RuleBook,
    private readonly backFill: BackFill,
  ) {}

  /** Every budget that waits for it; returns how many are exact now. Two processes may do the same one: the second changes nothing. */
  async execute(): Promise<number> {
    let warmed = 0;
    for (const budget of await this.store.warming(this.database, ROUND)) if (await this.warm(budget)) warmed += 1;
    return warmed;
  }

  /** Begins at once, and tells whether it was done within a few seconds. */
  async soon(budget: Budget): Promise<boolean> {
    const timer = new AbortController();
    const later = delay(SOON_MS, false, { signal: timer.signal }).catch(() => false);
    return await Promise.race([this.warm(budget).catch(() => false), later]).finally(() => timer.abort());
  }

  private async warm(budget: Budget): Promise<boolean> {
    const key = JSON.stringify([budget.tenantId, budget.budgetId, budget.version]);
    let work = this.running.get(key);
    if (!work) {
      work = this.backFill(budget)
        .then(async (done) => {
          await this.rules.refresh();
          return done;
        })
        .finally(() => this.running.delete(key));
      this.running.set(key, work);
    }
    return await work;
  }
}
