import type { MigrationInterface, QueryRunner } from 'typeorm';

/** A rolling window has no period in which a crossing could happen once: until when each of its thresholds has been told. */
export class QuotaRollingCrossings20261122001100 implements MigrationInterface {
  readonly name = 'QuotaRollingCrossings20261122001100';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      CREATE TABLE quota.rolling_crossing (
        tenant_id  text    NOT NULL,
        budget_key text    NOT NULL,
        value_key  text    NOT NULL,
        metric     text    NOT NULL CHECK (metric IN ('usd', 'tokens', 'requests')),
        percent    integer NOT NULL,
        quiet_until_ms bigint NOT NULL,
        PRIMARY KEY (tenant_id, budget_key, value_key, metric, percent)
      );
      CREATE INDEX rolling_crossing_by_end ON quota.rolling_crossing (quiet_until_ms);

      -- Rolling counters that were found half way to a threshold: every booking adds them up again. Times are milliseconds since 1970.
      CREATE TABLE quota.rolling_watch (
        tenant_id  text   NOT NULL,
        budget_key text   NOT NULL,
        value_key  text   NOT NULL,
        watch_until_ms bigint NOT NULL,
        PRIMARY KEY (tenant_id, budget_key, value_key)
      );
      CREATE INDEX rolling_watch_by_end ON quota.rolling_watch (watch_until_ms);

      DO $$ BEGIN
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'tollgate_app') THEN
          GRANT SELECT, INSERT, UPDATE, DELETE ON quota.rolling_crossing, quota.rolling_watch TO tollgate_app;
        END IF;
      END $$;
    `);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`DROP TABLE quota.rolling_watch, quota.rolling_crossing`);
  }
}
