/**
 * From account codes to their numbers. Known numbers are kept per process, because every batch of a tenant uses the same few accounts;
 * unknown ones are looked up or made on demand. Only what was committed is kept: the caller's transaction may still roll back, and a
 * number that never came to be would fail all later postings.
 */
import { assert } from '#libs/kernel/index.js';
import type { Sql } from '#libs/platform/postgres/database.js';
import { accountKind, lotOfAccount } from '../domain/account-code.js';

/** About 20,000 active tenants at five accounts each, some 15 MB. */
const MAX_KNOWN = 100_000;

export interface AccountName {
  readonly tenantId: string;
  readonly code: string;
}

interface AccountRow {
  readonly account_id: bigint;
  readonly tenant_id: string;
  readonly code: string;
  readonly committed: boolean;
}

// pg_current_xact_id is 64 bits wide, xmin its low half.
const FIND = {
  name: 'ledger.find-accounts',
  text: `SELECT a.account_id, a.tenant_id, a.code,
                a.xmin::text::bigint IS DISTINCT FROM (pg_current_xact_id_if_assigned()::text::bigint & 4294967295) AS committed
           FROM unnest($1::text[], $2::text[]) AS named (tenant_id, code)
           JOIN ledger.account a USING (tenant_id, code)`,
};

const MAKE = {
  name: 'ledger.make-accounts',
  text: `WITH made AS (
           INSERT INTO ledger.account (tenant_id, code, kind)
           SELECT * FROM unnest($1::text[], $2::text[], $3::text[])
           RETURNING account_id, tenant_id, code
         ), balance AS (
           INSERT INTO ledger.account_balance (account_id, is_lot)
           SELECT made.account_id, named.is_lot
             FROM made JOIN unnest($1::text[], $2::text[], $4::boolean[]) AS named (tenant_id, code, is_lot) USING (tenant_id, code)
         )
         SELECT account_id, tenant_id, code, false AS committed FROM made`,
};

export class AccountIds {
  private readonly known = new Map<string, bigint>();

  /** The numbers of `accounts`; makes those that are missing. The tenants must be locked. */
  async resolve(tx: Sql, accounts: readonly AccountName[]): Promise<(account: AccountName) => bigint> {
    const wanted = new Map(accounts.map((account) => [keyOf(account), account]));
    const found = new Map<string, bigint>();
    for (const key of wanted.keys()) {
      const id = this.known.get(key);
      if (id !== undefined) found.set(key, id);
    }
    const unknown = [...wanted].filter(([key]) => !found.has(key)).map(([, account]) => account);
    if (unknown.length > 0) this.take(found, await tx.query<AccountRow>(FIND, namesOf(unknown)));
    const missing = unknown.filter((account) => !found.has(keyOf(account)));
    if (missing.length > 0) this.take(found, await tx.query<AccountRow>(MAKE, [...namesOf(missing), ...kindsOf(missing)]));
    return (account) => {
      const id = found.get(keyOf(account));
      assert(id !== undefined, `account ${account.code} of ${account.tenantId} was not resolved`);
      return id;
    };
  }

  private take(found: Map<string, bigint>, rows: readonly AccountRow[]): void {
    for (const row of rows) {
      const key = keyOf({ tenantId: row.tenant_id, code: row.code });
      found.set(key, row.account_id);
      if (row.committed) this.keep(key, row.account_id);
    }
  }

  private keep(key: string, id: bigint): void {
    if (this.known.size >= MAX_KNOWN) {
      const oldest = this.known.keys().next();
      if (!oldest.done) this.known.delete(oldest.value);
    }
    this.known.set(key, id);
  }
}

/** U+0000 is in no id and in no code. */
function keyOf({ tenantId, code }: AccountName): string {
  return `${tenantId}\u0000${code}`;
}

function namesOf(accounts: readonly AccountName[]): [string[], string[]] {
  return [accounts.map((account) => account.tenantId), accounts.map((account) => account.code)];
}

function kindsOf(accounts: readonly AccountName[]): [string[], boolean[]] {
  return [accounts.map((account) => accountKind(account.code)), accounts.map((account) => lotOfAccount(account.code) !== null)];
}
