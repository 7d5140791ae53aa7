import type { Clock, Nano } from '#libs/kernel/index.js';
import { AuditLog } from '#libs/platform/audit/audit-log.js';
import type { Database } from '#libs/platform/postgres/database.js';
import { AdjustBalance } from '../application/adjust-balance.js';
import { ExpireLots } from '../application/expire-lots.js';
import { GrantCredit, type GrantCreditInput, type GrantReceipt } from '../application/grant-credit.js';
import type { Once } from '../application/idempotency.js';
import { ReadBalance } from '../application/read-balance.js';
import { SpendLedger, type SpendPosted, type SpendReversal, type SpendReversed, type TenantSpend } from '../application/spend-ledger.js';
import { VoidCredit } from '../application/void-credit.js';
import { PostgresLedgerReader } from '../postgres/postgres-ledger-reader.js';
import { PostgresLedgerStore } from '../postgres/postgres-ledger-store.js';

export const BY_TEST = { actor: 'key:test', requestId: 'req-test' };

/** All of the ledger's use cases on one database, as the product wires them. */
export function ledgerOn(db: Database, clock: Clock) {
  const store = new PostgresLedgerStore();
  const reader = new PostgresLedgerReader(db);
  const spend = new SpendLedger(store);
  const grantCredit = new GrantCredit(db, store, new AuditLog());
  return {
    store,
    reader,
    grantCredit,
    voidCredit: new VoidCredit(db, store, new AuditLog()),
    adjustBalance: new AdjustBalance(db, store, new AuditLog()),
    expireLots: new ExpireLots(db, store, clock),
    readBalance: new ReadBalance(reader, clock),
    post: async (...spends: TenantSpend[]): Promise<SpendPosted[]> => await db.transaction((tx) => spend.post(tx, spends, 'system:test')),
    reverse: async (...reversals: SpendReversal[]): Promise<SpendReversed[]> => await db.transaction((tx) => spend.reverse(tx, reversals, 'system:test')),
    grant: async (input: Partial<GrantCreditInput> & { tenantId: string; amountNano: Nano }): Promise<GrantReceipt> =>
      receiptOf(
        await grantCredit.execute({
          kind: 'paid',
          expiresAt: null,
          priority: null,
          reference: null,
          collectReceivable: true,
          by: BY_TEST,
          idempotency: null,
          ...input,
        }),
      ),
  };
}

export type LedgerFixture = ReturnType<typeof ledgerOn>;

/** What has just happened; throws when it was a replay. */
export function receiptOf<Receipt>(once: Once<Receipt>): Receipt {
  if (once.outcome === 'replayed') throw new Error(`replayed: ${once.answer}`);
  return once.receipt;
}
