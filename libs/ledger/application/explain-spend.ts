import type { Nano } from '#libs/kernel/index.js';
import { Database } from '#libs/platform/postgres/database.js';
import { lotOfAccount } from '../domain/account-code.js';
import { slicesOf } from '../domain/reversal-plan.js';
import { LedgerStore } from './ports.js';

export interface SpendSlice {
  /** The account that paid: a lot or the receivable. */
  readonly account: string;
  readonly lotId: string | null;
  readonly amountNano: Nano;
}

/** Which lots, and how much debt, paid for one event: its interval cut out of the transfers that were recorded. */
export class ExplainSpend {
  constructor(
    private readonly database: Database,
    private readonly store: LedgerStore,
  ) {}

  /** In burn order; empty for a transaction that does not exist. @throws InvariantError when the interval is not inside the transaction */
  async execute(input: { transactionId: string; from: Nano; to: Nano }): Promise<SpendSlice[]> {
    const recorded = await this.store.recorded(this.database, [input.transactionId]);
    const transaction = recorded.get(input.transactionId);
    if (transaction === undefined) return [];
    return slicesOf(transaction.transfers, input).map(({ debit, amountNano }) => ({ account: debit, lotId: lotOfAccount(debit), amountNano }));
  }
}
