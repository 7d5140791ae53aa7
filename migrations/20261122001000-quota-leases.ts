import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * Budgets that all tenants share: what each tenant was granted of a limit, and what all of them booked. A grant is in here before any store
 * hears of it, and out of here after the store has lowered it: a crash in between strands it, and never gives it out twice.
 */
export class QuotaLeases20261122001000 implements MigrationInterface {
  readonly name = 'QuotaLeases20261122001000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      -- Numbers tellings of grants: of two the later one counts. Never two the same, whatever tenant and lease.
      CREATE SEQUENCE quota.lease_version;

      -- One counter of a shared budget at one percent of its limit. granted: the sum of its leases; holders: those that are not zero.
      CREATE TABLE quota.lease_pool (
        lease_key text   PRIMARY KEY,
        granted   bigint NOT NULL CHECK (granted >= 0),
        holders   bigint NOT NULL CHECK (holders >= 0),
        ends_ms   bigint
      );
      CREATE INDEX lease_pool_by_end ON quota.lease_pool (ends_ms) WHERE ends_ms IS NOT NULL;

      -- fenced: so much of it may have been promised by a store that was lost; counts until the tenant's fence ends (quota.reserve).
      -- epoch: under which it was loaded last. looked_committed: what the tenant used and held when it was looked at for idleness.
      CREATE TABLE quota.lease (
        tenant_id        text        NOT NULL,
        lease_key        text        NOT NULL,
        granted          bigint      NOT NULL CHECK (granted >= 0),
        fenced           bigint      NOT NULL DEFAULT 0 CHECK (fenced >= 0),
        version          bigint      NOT NULL,
        epoch            bigint      NOT NULL,
        ends_ms          bigint,
        looked_at        timestamptz NOT NULL,
        looked_committed bigint,
        PRIMARY KEY (tenant_id, lease_key)
      );
      CREATE INDEX lease_by_pool ON quota.lease (lease_key, granted);
      CREATE INDEX lease_by_look ON quota.lease (looked_at) WHERE granted > 0;
      CREATE INDEX lease_by_end ON quota.lease (ends_ms) WHERE ends_ms IS NOT NULL;

      -- Tenants that have used or hold more than they were granted, noted by whoever sees it and added to the pool before it grants anything.
      CREATE TABLE quota.lease_excess (
        lease_key text   NOT NULL,
        tenant_id text   NOT NULL,
        committed bigint NOT NULL,
        ends_ms   bigint
      );
      CREATE INDEX lease_excess_by_key ON quota.lease_excess (lease_key);

      -- What postings added to shared budgets, until it is in the counters of tenant ''. A row of its own each, because all postings at once
      -- would wait for one.
      CREATE TABLE quota.shared_delta (
        delta_id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        budget_key    text   NOT NULL,
        period_ms     bigint NOT NULL,
        value_key     text   NOT NULL,
        "values"      jsonb  NOT NULL,
        used_nano     bigint NOT NULL,
        used_tokens   bigint NOT NULL,
        used_requests bigint NOT NULL
      );

      DO $$ BEGIN
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'tollgate_app') THEN
          GRANT USAGE ON SEQUENCE quota.lease_version TO tollgate_app;
          GRANT SELECT, INSERT, UPDATE, DELETE ON quota.lease_pool, quota.lease TO tollgate_app;
          GRANT SELECT, INSERT, DELETE ON quota.lease_excess, quota.shared_delta TO tollgate_app;
        END IF;
      END $$;
    `);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`
      DROP TABLE quota.shared_delta, quota.lease_excess, quota.lease, quota.lease_pool;
      DROP SEQUENCE quota.lease_version;
    `);
  }
}
