import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Keys with a prepaid balance of their own, and what each was credited. */
export class KeyBalances20261122001110 implements MigrationInterface {
  readonly name = 'KeyBalances20261122001110';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      ALTER TABLE tenancy.api_key ADD COLUMN prepaid boolean NOT NULL DEFAULT false;

      -- The sum of a key's credits is the limit of its budget 'prepaid:<api_key_id>'.
      CREATE TABLE quota.key_credit (
        credit_id    uuid        PRIMARY KEY,
        tenant_id    text        NOT NULL,
        api_key_id   text        NOT NULL,
        amount_nano  bigint      NOT NULL CHECK (amount_nano > 0),
        reference    text,
        idem_key     text,
        request_hash bytea       NOT NULL,
        created_at   timestamptz NOT NULL,
        UNIQUE (tenant_id, api_key_id, idem_key)
      );
      SELECT platform.make_append_only('quota.key_credit');

      DO $$ BEGIN
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'tollgate_app') THEN
          GRANT SELECT, INSERT ON quota.key_credit TO tollgate_app;
        END IF;
      END $$;
    `);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`
      DROP TABLE quota.key_credit;
      ALTER TABLE tenancy.api_key DROP COLUMN prepaid;
    `);
  }
}
