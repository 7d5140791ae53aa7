import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Which server of a shared quota store was given which epoch: one that comes back with old data has another identity, and gets another epoch. */
export class QuotaRedis20261122000950 implements MigrationInterface {
  readonly name = 'QuotaRedis20261122000950';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      -- node: 'single', or host:port of a cluster's master. run_id: as the server tells it, new at every start. layout: how state is laid out there.
      -- Epochs are taken from quota.epoch, so that no two servers ever have the same.
      CREATE TABLE quota.store_node (
        node     text        PRIMARY KEY,
        run_id   text        NOT NULL,
        layout   integer     NOT NULL,
        epoch    bigint      NOT NULL UNIQUE,
        taken_at timestamptz NOT NULL
      );
      -- What was allowed while the store was away, until an event of the call is booked.
      CREATE INDEX hold_bypass ON quota.hold (created_at) WHERE state = 'unresolved' AND resolution = 'bypass';

      DO $$ BEGIN
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'tollgate_app') THEN
          GRANT SELECT, INSERT, UPDATE, DELETE ON quota.store_node TO tollgate_app;
        END IF;
      END $$;
    `);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`
      DROP INDEX quota.hold_bypass;
      DROP TABLE quota.store_node;
    `);
  }
}
