import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Keys that tenants give to their own apps: who spends, not who calls the API. */
export class TenantKeys20261122000810 implements MigrationInterface {
  readonly name = 'TenantKeys20261122000810';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      CREATE TABLE tenancy.api_key (
        api_key_id     uuid        PRIMARY KEY,
        public_id      text        NOT NULL UNIQUE,
        secret_hash    bytea       NOT NULL CHECK (octet_length(secret_hash) = 32),
        tenant_id      text        NOT NULL REFERENCES tenancy.tenant,
        name           text        NOT NULL,
        app            text,
        assistant_id   text,
        workflow       text,
        environment    text,
        models         text[],
        allow_critical boolean     NOT NULL,
        replaces       uuid        REFERENCES tenancy.api_key,
        created_at     timestamptz NOT NULL,
        expires_at     timestamptz,
        revoked_at     timestamptz
      );
      CREATE INDEX api_key_by_tenant ON tenancy.api_key (tenant_id, api_key_id);
      CREATE INDEX api_key_by_origin ON tenancy.api_key (replaces) WHERE replaces IS NOT NULL;

      DO $$ BEGIN
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'tollgate_app') THEN
          GRANT SELECT, INSERT, UPDATE ON tenancy.api_key TO tollgate_app;
        END IF;
      END $$;
    `);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`DROP TABLE tenancy.api_key`);
  }
}
