import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * One number that every change of tenants, plans and keys raises, also one made by hand: whoever caches them asks for it instead of reading
 * them again. The row is locked until the change commits, so numbers become visible in their order.
 */
export class TenancyRevision20261122000710 implements MigrationInterface {
  readonly name = 'TenancyRevision20261122000710';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      CREATE TABLE tenancy.revision (
        only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
        revision bigint  NOT NULL
      );
      INSERT INTO tenancy.revision (revision) VALUES (1);

      CREATE FUNCTION tenancy.raise_revision() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN
        UPDATE tenancy.revision SET revision = revision + 1;
        RETURN NULL;
      END $$;
      CREATE TRIGGER raise_revision AFTER INSERT OR UPDATE OR DELETE ON tenancy.tenant FOR EACH STATEMENT EXECUTE FUNCTION tenancy.raise_revision();
      CREATE TRIGGER raise_revision AFTER INSERT OR UPDATE OR DELETE ON tenancy.plan FOR EACH STATEMENT EXECUTE FUNCTION tenancy.raise_revision();
      -- Not for last_used_at, which is written all the time and decides nothing.
      CREATE TRIGGER raise_revision AFTER INSERT OR DELETE OR UPDATE OF secret_hash, scopes, tenant_id, source_id, expires_at, revoked_at
        ON tenancy.service_key FOR EACH STATEMENT EXECUTE FUNCTION tenancy.raise_revision();

      DO $$ BEGIN
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'tollgate_app') THEN
          GRANT SELECT, UPDATE ON tenancy.revision TO tollgate_app;
        END IF;
      END $$;
    `);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`
      DROP TRIGGER raise_revision ON tenancy.service_key;
      DROP TRIGGER raise_revision ON tenancy.plan;
      DROP TRIGGER raise_revision ON tenancy.tenant;
      DROP FUNCTION tenancy.raise_revision();
      DROP TABLE tenancy.revision;
    `);
  }
}
