import type { MigrationInterface, QueryRunner } from 'typeorm';

/** An event that was charged provisionally is rated when its price arrives: what it took from its hold is then replaced. */
export class QuotaCaptureAgain20261122000730 implements MigrationInterface {
  readonly name = 'QuotaCaptureAgain20261122000730';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      DO $$ BEGIN
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'tollgate_app') THEN
          GRANT UPDATE ON quota.capture TO tollgate_app;
        END IF;
      END $$;
    `);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`
      DO $$ BEGIN
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'tollgate_app') THEN
          REVOKE UPDATE ON quota.capture FROM tollgate_app;
        END IF;
      END $$;
    `);
  }
}
