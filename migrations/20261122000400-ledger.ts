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

      -- seq: number of the tenant's last money transaction, taken in the UPDATE that locks this row. booked_at never goes back.
      CREATE TABLE ledger.tenant_balance (
        tenant_id       text        PRIMARY KEY,
        seq             bigint      NOT NULL DEFAULT 0,
        lots_nano       bigint      NOT NULL DEFAULT 0 CHECK (lots_nano >= 0),
        receivable_nano bigint      NOT NULL DEFAULT 0,
        booked_at       timestamptz NOT NULL DEFAULT now()
      );

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
        UNIQUE (tenant_id, tenant_seq)
      );
      SELECT platform.make_append_only('ledger.transaction');

      CREATE TABLE ledger.transfer (
        transaction_id uuid     NOT NULL REFERENCES ledger.transaction,
        line_no        smallint NOT NULL CHECK (line_no >= 0),
        debit_account  bigint   NOT NULL REFERENCES ledger.account,
        credit_account bigint   NOT NULL REFERENCES ledger.account,
        amount         bigint   NOT NULL CHECK (amount > 0),
        PRIMARY KEY (transaction_id, line_no),
        CHECK (debit_account <> credit_account)
      );
      SELECT platform.make_append_only('ledger.transfer');

      CREATE TABLE ledger.account_balance (
        account_id bigint  PRIMARY KEY REFERENCES ledger.account,
        debits     bigint  NOT NULL DEFAULT 0 CHECK (debits >= 0),
        credits    bigint  NOT NULL DEFAULT 0 CHECK (credits >= 0),
        is_lot     boolean NOT NULL DEFAULT false,
        CHECK (NOT is_lot OR credits >= debits)
      );

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
        reference      text
      );
      CREATE INDEX lot_open ON ledger.lot (tenant_id) WHERE remaining_nano > 0;
      CREATE INDEX lot_expiring ON ledger.lot (expires_at) WHERE remaining_nano > 0 AND expires_at IS NOT NULL;
      CREATE INDEX lot_by_tenant ON ledger.lot (tenant_id, lot_id);

      -- The first answer to an Idempotency-Key, given again word for word.
      CREATE TABLE ledger.idempotency (
        tenant_id    text        NOT NULL,
        scope        text        NOT NULL,
        key          text        NOT NULL,
        request_hash bytea       NOT NULL,
        response     jsonb       NOT NULL,
        created_at   timestamptz NOT NULL,
        PRIMARY KEY (tenant_id, scope, key)
      );
      SELECT platform.make_append_only('ledger.idempotency');

      GRANT USAGE ON SCHEMA ledger TO tollgate_app;
      GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA ledger TO tollgate_app;
      GRANT UPDATE ON ledger.tenant_balance, ledger.account_balance, ledger.lot TO tollgate_app;
    `);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`DROP SCHEMA ledger CASCADE`);
  }
}
