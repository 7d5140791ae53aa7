import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Alerts raised once, the channels they go to, and what became of each delivery. */
export class Alerting20261122000900 implements MigrationInterface {
  readonly name = 'Alerting20261122000900';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      CREATE SCHEMA alerting;

      -- dedup: 128 bits over (kind, tenant, the producer's key): a crossing is raised once, whoever sees it how often.
      CREATE TABLE alerting.alert (
        alert_id    uuid        PRIMARY KEY,
        dedup       bytea       NOT NULL UNIQUE CHECK (octet_length(dedup) = 16),
        kind        text        NOT NULL CHECK (kind IN ('threshold.crossed', 'balance.low', 'balance.exhausted', 'hold.unresolved',
                                                         'event.quarantined', 'event.conflict', 'period.closed', 'anomaly.detected')),
        severity    text        NOT NULL CHECK (severity IN ('info', 'warning', 'critical')),
        tenant_id   text,
        occurred_at timestamptz NOT NULL,
        raised_at   timestamptz NOT NULL,
        subject     jsonb       NOT NULL CHECK (jsonb_typeof(subject) = 'object'),
        routed_at   timestamptz
      );
      CREATE INDEX alert_unrouted ON alerting.alert (alert_id) WHERE routed_at IS NULL;
      CREATE INDEX alert_by_tenant ON alerting.alert (tenant_id, alert_id);
      CREATE INDEX alert_by_raised ON alerting.alert (raised_at);

      -- The secrets are kept as they are: they sign, so they must be read again. Two are valid while previous_until lies ahead.
      CREATE TABLE alerting.channel (
        channel_id      text        PRIMARY KEY CHECK (octet_length(channel_id) BETWEEN 1 AND 128),
        kind            text        NOT NULL CHECK (kind IN ('webhook')),
        url             text        NOT NULL CHECK (octet_length(url) <= 2048),
        kinds           text[]      CHECK (cardinality(kinds) > 0),
        tenant_id       text,
        min_severity    text        NOT NULL CHECK (min_severity IN ('info', 'warning', 'critical')),
        enabled         boolean     NOT NULL,
        disabled_reason text,
        secret          text        NOT NULL,
        previous_secret text,
        previous_until  timestamptz,
        created_at      timestamptz NOT NULL,
        updated_at      timestamptz NOT NULL,
        CHECK ((previous_secret IS NULL) = (previous_until IS NULL)),
        CHECK (NOT enabled OR disabled_reason IS NULL)
      );

      -- One row per alert and channel. Without a foreign key to the channel: the log outlives it.
      CREATE TABLE alerting.delivery (
        delivery_id      uuid        PRIMARY KEY,
        alert_id         uuid        NOT NULL REFERENCES alerting.alert ON DELETE CASCADE,
        channel_id       text        NOT NULL,
        status           text        NOT NULL CHECK (status IN ('pending', 'delivered', 'failed')),
        attempts         smallint    NOT NULL DEFAULT 0 CHECK (attempts >= 0),
        next_attempt_at  timestamptz,
        last_attempt_at  timestamptz,
        last_status      smallint,
        last_error       text,
        response_excerpt text        CHECK (char_length(response_excerpt) <= 256),
        created_at       timestamptz NOT NULL,
        finished_at      timestamptz,
        UNIQUE (alert_id, channel_id),
        CHECK ((status = 'pending') = (next_attempt_at IS NOT NULL)),
        CHECK ((status = 'pending') = (finished_at IS NULL))
      );
      CREATE INDEX delivery_due ON alerting.delivery (channel_id, next_attempt_at) WHERE status = 'pending';
      CREATE INDEX delivery_by_channel ON alerting.delivery (channel_id, delivery_id);

      DO $$ BEGIN
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'tollgate_app') THEN
          GRANT USAGE ON SCHEMA alerting TO tollgate_app;
          GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA alerting TO tollgate_app;
        END IF;
      END $$;
    `);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`DROP SCHEMA alerting CASCADE`);
  }
}
