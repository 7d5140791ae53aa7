import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * Double entry in bigint nano-USD. A transfer debits one account and credits another, so zero-sum holds by construction (L1).
 * transaction and transfer are append only (L3); account_balance, lot.remaining and tenant_balance are caches that the check recomputes (L2).
 */
export class Ledger20261122000400 implements MigrationInterface {
  readonly name = 'Ledger20261122000400';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      CREATE SCHEMA ledger;

      -- seq: number of the tenant's last money transaction, taken under this row's lock. booked_at never goes back; whole milliseconds, so that
      -- what the program computed with and what is stored are the same instant.
      CREATE TABLE ledger.tenant_balance (
        tenant_id       text        PRIMARY KEY,
        seq             bigint      NOT NULL DEFAULT 0,
        lots_nano       bigint      NOT NULL DEFAULT 0 CHECK (lots_nano >= 0),
        receivable_nano bigint      NOT NULL DEFAULT 0,
        booked_at       timestamptz NOT NULL DEFAULT date_trunc('milliseconds', now())
      ) WITH (fillfactor = 70);

      -- Every account belongs to a tenant, the income and expense ones too: a global one would be a row that all posters fight for.
      CREATE TABLE ledger.account (
        account_id bigint  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        tenant_id  text    NOT NULL REFERENCES ledger.tenant_balance,
        code       text    NOT NULL,
        kind       text    NOT NULL CHECK (kind IN ('asset', 'liability', 'income', 'expense')),
        currency   text    NOT NULL DEFAULT 'USD' CHECK (currency = 'USD'),
        UNIQUE (tenant_id, code)
      );

      CREATE TABLE ledger.transaction (
        transaction_id uuid        PRIMARY KEY,
        tenant_id      text        NOT NULL REFERENCES ledger.tenant_balance,
        tenant_seq     bigint      NOT NULL CHECK (tenant_seq > 0),
        kind           text        NOT NULL CHECK (kind IN ('spend', 'reversal', 'grant', 'void', 'adjustment', 'expiry', 'collection')),
        idem_scope     text        NOT NULL,
        idem_key       text        NOT NULL,
        request_hash   bytea       NOT NULL,
        occurred_at    timestamptz NOT NULL,
        booked_at      timestamptz NOT NULL,
        period         text        NOT NULL,
        corrects       uuid        REFERENCES ledger.transaction,
        actor          text        NOT NULL,
        reason         text,
        reference      text,
        UNIQUE (tenant_id, idem_scope, idem_key),
        -- booked_at rises with tenant_seq: with it in the index a period is found without reading the transactions before it.
        UNIQUE (tenant_id, tenant_seq) INCLUDE (booked_at)
      );
      -- An event is taken out of the transaction that booked it at most once; reference is the event.
      CREATE UNIQUE INDEX transaction_reversed_once ON ledger.transaction (corrects, reference) WHERE kind = 'reversal';
      SELECT platform.make_append_only('ledger.transaction');

      CREATE TABLE ledger.transfer (
        transaction_id uuid     NOT NULL REFERENCES ledger.transaction,
        line_no        integer  NOT NULL CHECK (line_no >= 0),
        debit_account  bigint   NOT NULL REFERENCES ledger.account,
        credit_account bigint   NOT NULL REFERENCES ledger.account,
        amount         bigint   NOT NULL CHECK (amount BETWEEN 1 AND 9000000000000000),
        PRIMARY KEY (transaction_id, line_no),
        CHECK (debit_account <> credit_account)
      );
      SELECT platform.make_append_only('ledger.transfer');

      -- The three caches below and above are updated in place by every batch: room on the page keeps those updates out of the indexes.
      CREATE TABLE ledger.account_balance (
        account_id bigint  PRIMARY KEY REFERENCES ledger.account,
        debits     bigint  NOT NULL DEFAULT 0 CHECK (debits >= 0),
        credits    bigint  NOT NULL DEFAULT 0 CHECK (credits >= 0),
        is_lot     boolean NOT NULL DEFAULT false,
        CHECK (NOT is_lot OR credits >= debits)
      ) WITH (fillfactor = 70);

      CREATE TABLE ledger.lot (
        lot_id         uuid        PRIMARY KEY,
        tenant_id      text        NOT NULL REFERENCES ledger.tenant_balance,
        account_id     bigint      NOT NULL UNIQUE REFERENCES ledger.account,
        kind           text        NOT NULL CHECK (kind IN ('paid', 'promo')),
        granted_nano   bigint      NOT NULL CHECK (granted_nano BETWEEN 1 AND 9000000000000000),
        remaining_nano bigint      NOT NULL CHECK (remaining_nano BETWEEN 0 AND granted_nano),
        priority       smallint    NOT NULL CHECK (priority BETWEEN 0 AND 100),
        effective_at   timestamptz NOT NULL,
        expires_at     timestamptz CHECK (expires_at > effective_at),
        created_at     timestamptz NOT NULL,
        voided_at      timestamptz,
        -- The indexes ask this and not remaining_nano, which every batch changes: so a burn stays a heap-only update.
        is_open        boolean     NOT NULL GENERATED ALWAYS AS (remaining_nano > 0) STORED,
        reference      text
      ) WITH (fillfactor = 70);
      CREATE INDEX lot_open ON ledger.lot (tenant_id) WHERE is_open;
      -- What the expiry job has to close: lots out of time, and voided ones that a reversal put money back on.
      CREATE INDEX lot_overdue ON ledger.lot ((CASE WHEN voided_at IS NULL THEN expires_at ELSE voided_at END)) WHERE is_open;

      -- The first answer to an Idempotency-Key, given again word for word; text, because jsonb would reorder its fields.
      CREATE TABLE ledger.idempotency (
        tenant_id    text        NOT NULL,
        scope        text        NOT NULL,
        key          text        NOT NULL,
        request_hash bytea       NOT NULL,
        response     text        NOT NULL,
        created_at   timestamptz NOT NULL,
        PRIMARY KEY (tenant_id, scope, key)
      );
      SELECT platform.make_append_only('ledger.idempotency');

      DO $$ BEGIN
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'tollgate_app') THEN
          GRANT USAGE ON SCHEMA ledger TO tollgate_app;
          GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA ledger TO tollgate_app;
          GRANT UPDATE ON ledger.tenant_balance, ledger.account_balance, ledger.lot TO tollgate_app;
        END IF;
      END $$;
    `);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`DROP SCHEMA ledger CASCADE`);
  }
}
