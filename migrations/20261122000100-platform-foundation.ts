import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Audit trail, outbox and the function behind every "insert only" table. The role `tollgate_app` is made by the migrator. */
export class PlatformFoundation20261122000100 implements MigrationInterface {
  readonly name = 'PlatformFoundation20261122000100';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      CREATE SCHEMA platform;

      CREATE FUNCTION platform.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN
        RAISE EXCEPTION 'rows of %.% are never changed or removed', TG_TABLE_SCHEMA, TG_TABLE_NAME USING ERRCODE = 'integrity_constraint_violation';
      END $$;

      -- ENABLE ALWAYS: session_replication_role=replica would otherwise switch the trigger off.
      CREATE FUNCTION platform.make_append_only(target regclass) RETURNS void LANGUAGE plpgsql AS $$
      BEGIN
        EXECUTE format('CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION platform.refuse_change()', target);
        EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER append_only', target);
      END $$;

      CREATE TABLE platform.audit (
        audit_id    uuid        NOT NULL PRIMARY KEY,
        at          timestamptz NOT NULL,
        actor       text        NOT NULL,
        action      text        NOT NULL,
        entity      text        NOT NULL,
        entity_id   text        NOT NULL,
        tenant_id   text,
        before      jsonb,
        after       jsonb,
        reason      text,
        request_id  text
      );
      CREATE INDEX audit_by_tenant ON platform.audit (tenant_id, audit_id);
      SELECT platform.make_append_only('platform.audit');

      CREATE TABLE platform.outbox (
        outbox_id   bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        tenant_id   text        NOT NULL,
        tenant_seq  bigint,
        topic       text        NOT NULL,
        payload     jsonb       NOT NULL,
        created_at  timestamptz NOT NULL DEFAULT now()
      );
    `);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`DROP SCHEMA platform CASCADE`);
  }
}
