import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Plans, tenants and service keys. The tenant `unknown` holds what came without a tenant: cost booked, charge 0. */
export class Tenancy20261122000200 implements MigrationInterface {
  readonly name = 'Tenancy20261122000200';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      CREATE SCHEMA tenancy;

      CREATE TABLE tenancy.plan (
        plan_id      text        PRIMARY KEY,
        name         text        NOT NULL,
        rate_card_id text,
        created_at   timestamptz NOT NULL,
        updated_at   timestamptz NOT NULL
      );

      CREATE TABLE tenancy.tenant (
        tenant_id          text        PRIMARY KEY CHECK (octet_length(tenant_id) BETWEEN 1 AND 128),
        name               text,
        plan_id            text        REFERENCES tenancy.plan,
        billing            text        NOT NULL DEFAULT 'prepaid'      CHECK (billing IN ('prepaid', 'postpaid')),
        credit_limit_nano  bigint      NOT NULL DEFAULT 0              CHECK (credit_limit_nano BETWEEN 0 AND 9000000000000000),
        enforcement        text        NOT NULL DEFAULT 'enforce'      CHECK (enforcement IN ('enforce', 'shadow', 'off')),
        on_store_failure   text        NOT NULL DEFAULT 'allow_capped' CHECK (on_store_failure IN ('block', 'allow_capped', 'allow')),
        hold_durability    text        NOT NULL DEFAULT 'fast'         CHECK (hold_durability IN ('fast', 'strict')),
        unresolved_policy  text        CHECK (unresolved_policy IN ('charge_input', 'charge_estimate', 'charge_hold', 'release')),
        status             text        NOT NULL DEFAULT 'active'       CHECK (status IN ('active', 'suspended')),
        timezone           text        NOT NULL DEFAULT 'UTC',
        owner              jsonb,
        stripe_customer_id text,
        auto_created       boolean     NOT NULL DEFAULT false,
        created_at         timestamptz NOT NULL,
        updated_at         timestamptz NOT NULL
      );
      INSERT INTO tenancy.tenant (tenant_id, name, billing, enforcement, created_at, updated_at)
      VALUES ('unknown', 'Events without a known tenant', 'postpaid', 'off', now(), now());

      CREATE TABLE tenancy.service_key (
        key_id       uuid        PRIMARY KEY,
        public_id    text        NOT NULL UNIQUE,
        secret_hash  bytea       NOT NULL CHECK (octet_length(secret_hash) = 32),
        name         text        NOT NULL,
        scopes       text[]      NOT NULL CHECK (scopes <@ ARRAY['admin', 'ingest', 'authorize', 'read'] AND cardinality(scopes) > 0),
        tenant_id    text        REFERENCES tenancy.tenant,
        source_id    text,
        replaces     uuid        REFERENCES tenancy.service_key,
        created_at   timestamptz NOT NULL,
        expires_at   timestamptz,
        revoked_at   timestamptz,
        last_used_at timestamptz
      );

      DO $$ BEGIN
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'tollgate_app') THEN
          GRANT USAGE ON SCHEMA tenancy TO tollgate_app;
          GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA tenancy TO tollgate_app;
          GRANT USAGE ON SCHEMA platform TO tollgate_app;
          GRANT SELECT, INSERT ON platform.audit TO tollgate_app;
          GRANT SELECT, INSERT, DELETE ON platform.outbox TO tollgate_app;
        END IF;
      END $$;
    `);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`DROP SCHEMA tenancy CASCADE`);
  }
}
