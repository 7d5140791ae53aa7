import { Database } from '#libs/platform/postgres/database.js';
import type { Lot } from '../domain/lot.js';
import { LedgerStore } from './ports.js';

/** One lot by its id, or null: where only the lot is named, this tells whose it is. */
export class FindCredit {
  constructor(
    private readonly database: Database,
    private readonly store: LedgerStore,
  ) {}

  async execute(input: { lotId: string }): Promise<Lot | null> {
    const [lot] = await this.store.findLots(this.database, [input.lotId]);
    return lot ?? null;
  }
}
