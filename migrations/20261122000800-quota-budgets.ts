import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * Budgets, routes, and what was used of them. A counter's key contains its period, so nothing is ever reset. Rules carry a revision that
 * every change raises: processes read what changed since theirs.
 */
export class QuotaBudgets20261122000800 implements MigrationInterface {
  readonly name = 'QuotaBudgets20261122000800';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      -- tenant_id '': across tenants, each with counters of its own. version: of what is counted. warming: counters are being back-filled.
      CREATE TABLE quota.budget (
        tenant_id        text        NOT NULL,
        budget_id        text        NOT NULL,
        version          integer     NOT NULL CHECK (version > 0),
        scope            jsonb       NOT NULL,
        per              text[]      NOT NULL,
        period           text        NOT NULL CHECK (period IN ('hour', 'day', 'week', 'month', 'total', 'rolling')),
        rolling_seconds  integer     CHECK ((period = 'rolling') = (rolling_seconds IS NOT NULL)),
        timezone         text        NOT NULL,
        limit_nano       bigint      CHECK (limit_nano BETWEEN 0 AND 9000000000000000),
        limit_tokens     bigint      CHECK (limit_tokens BETWEEN 0 AND 9000000000000000),
        limit_requests   bigint      CHECK (limit_requests BETWEEN 0 AND 9000000000000000),
        limit_concurrent bigint      CHECK (limit_concurrent BETWEEN 0 AND 9000000000000000),
        thresholds       jsonb       NOT NULL,
        enforcement      text        NOT NULL CHECK (enforcement IN ('enforce', 'shadow')),
        count_from       text        NOT NULL CHECK (count_from IN ('period_start', 'now')),
        counts_from      timestamptz,
        paused           boolean     NOT NULL DEFAULT false,
        warming          boolean     NOT NULL DEFAULT false,
        created_at       timestamptz NOT NULL,
        updated_at       timestamptz NOT NULL,
        deleted_at       timestamptz,
        PRIMARY KEY (tenant_id, budget_id),
        CHECK (coalesce(limit_nano, limit_tokens, limit_requests, limit_concurrent) IS NOT NULL)
      );
      CREATE INDEX budget_warming ON quota.budget (tenant_id) WHERE warming AND deleted_at IS NULL;

      CREATE TABLE quota.budget_override (
        tenant_id        text        NOT NULL,
        budget_id        text        NOT NULL,
        value_key        text        NOT NULL,
        "values"         jsonb       NOT NULL,
        limit_nano       bigint      CHECK (limit_nano BETWEEN 0 AND 9000000000000000),
        limit_tokens     bigint      CHECK (limit_tokens BETWEEN 0 AND 9000000000000000),
        limit_requests   bigint      CHECK (limit_requests BETWEEN 0 AND 9000000000000000),
        limit_concurrent bigint      CHECK (limit_concurrent BETWEEN 0 AND 9000000000000000),
        updated_at       timestamptz NOT NULL,
        PRIMARY KEY (tenant_id, budget_id, value_key),
        FOREIGN KEY (tenant_id, budget_id) REFERENCES quota.budget
      );

      -- More of a limit in the one period that starts at period_ms (milliseconds since 1970).
      CREATE TABLE quota.budget_top_up (
        top_up_id       uuid        PRIMARY KEY,
        tenant_id       text        NOT NULL,
        budget_id       text        NOT NULL,
        value_key       text        NOT NULL,
        period_ms       bigint      NOT NULL,
        amount_nano     bigint      CHECK (amount_nano > 0),
        amount_tokens   bigint      CHECK (amount_tokens > 0),
        amount_requests bigint      CHECK (amount_requests > 0),
        idem_key        text,
        request_hash    bytea       NOT NULL,
        created_at      timestamptz NOT NULL,
        UNIQUE (tenant_id, budget_id, idem_key),
        FOREIGN KEY (tenant_id, budget_id) REFERENCES quota.budget
      );
      CREATE INDEX budget_top_up_by_period ON quota.budget_top_up (tenant_id, budget_id, period_ms);

      -- tenant_id '': of every tenant that has no ladder of its own for the model.
      CREATE TABLE quota.route (
        tenant_id text   NOT NULL,
        model     text   NOT NULL,
        ladder    text[] NOT NULL CHECK (cardinality(ladder) > 0),
        PRIMARY KEY (tenant_id, model)
      );

      CREATE TABLE quota.rules_revision (
        only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
        revision bigint  NOT NULL
      );
      INSERT INTO quota.rules_revision (revision) VALUES (0);
      -- The last revision that changed a tenant's rules ('': everybody's).
      CREATE TABLE quota.rules_change (
        tenant_id text   PRIMARY KEY,
        revision  bigint NOT NULL
      );
      CREATE INDEX rules_change_by_revision ON quota.rules_change (revision);

      -- period_ms: start of the period, or of the sub-bucket of a rolling window, in milliseconds since 1970; expires_ms: when nobody asks any more.
      CREATE TABLE quota.counter (
        tenant_id     text   NOT NULL,
        budget_key    text   NOT NULL,
        period_ms     bigint NOT NULL,
        value_key     text   NOT NULL,
        used_nano     bigint NOT NULL,
        used_tokens   bigint NOT NULL,
        used_requests bigint NOT NULL,
        expires_ms    bigint,
        PRIMARY KEY (tenant_id, budget_key, period_ms, value_key)
      );
      CREATE INDEX counter_by_expiry ON quota.counter (expires_ms) WHERE expires_ms IS NOT NULL;

      -- Which values a counter is for. slot_ms: start of the period, or of the aligned window of a rolling one; at most 10,000 of each.
      CREATE TABLE quota.counter_value (
        tenant_id  text   NOT NULL,
        budget_key text   NOT NULL,
        slot_ms    bigint NOT NULL,
        value_key  text   NOT NULL,
        "values"   jsonb  NOT NULL,
        expires_ms bigint,
        PRIMARY KEY (tenant_id, budget_key, slot_ms, value_key)
      );
      CREATE INDEX counter_value_by_expiry ON quota.counter_value (expires_ms) WHERE expires_ms IS NOT NULL;

      -- What was booked on a budget while its counters were being back-filled: added to the sums of the snapshot with a smaller seq.
      CREATE TABLE quota.warming_delta (
        tenant_id  text   NOT NULL,
        budget_key text   NOT NULL,
        seq        bigint NOT NULL,
        period_ms  bigint NOT NULL,
        value_key  text   NOT NULL,
        "values"   jsonb  NOT NULL,
        used_nano     bigint NOT NULL,
        used_tokens   bigint NOT NULL,
        used_requests bigint NOT NULL,
        expires_ms    bigint,
        PRIMARY KEY (tenant_id, budget_key, seq, period_ms, value_key)
      );

      -- Numbers a tenant's bookings, as the quota store hears of them.
      CREATE TABLE quota.tally (
        tenant_id text   PRIMARY KEY,
        seq       bigint NOT NULL
      );

      -- Where an event counts that counts elsewhere than its own fields say: where its hold was asked.
      CREATE TABLE quota.placement (
        tenant_id text        NOT NULL,
        event_id  uuid        NOT NULL,
        at        timestamptz NOT NULL,
        "call"    jsonb       NOT NULL,
        posted_at timestamptz NOT NULL,
        PRIMARY KEY (tenant_id, event_id)
      );
      CREATE INDEX placement_by_time ON quota.placement (posted_at);

      -- Once per counter, period and threshold, whatever restarts.
      CREATE TABLE quota.crossing (
        crossing_id uuid        PRIMARY KEY,
        tenant_id   text        NOT NULL,
        owner_id    text        NOT NULL,
        budget_id   text        NOT NULL,
        version     integer     NOT NULL,
        budget_key  text        NOT NULL,
        period_ms   bigint      NOT NULL,
        period_ends timestamptz,
        value_key   text        NOT NULL,
        "values"    jsonb       NOT NULL,
        metric      text        NOT NULL CHECK (metric IN ('usd', 'tokens', 'requests')),
        percent     integer     NOT NULL,
        action      text        NOT NULL CHECK (action IN ('notify', 'downgrade', 'block')),
        limit_value bigint      NOT NULL,
        used_value  bigint      NOT NULL,
        crossed_at  timestamptz NOT NULL,
        UNIQUE (tenant_id, budget_key, period_ms, value_key, metric, percent, action)
      );
      CREATE INDEX crossing_by_tenant ON quota.crossing (tenant_id, crossing_id);

      ALTER TABLE quota.hold ADD COLUMN tags jsonb, ADD COLUMN source_id text;
      ALTER TABLE quota.capture ADD COLUMN tokens bigint NOT NULL DEFAULT 0, ADD COLUMN requests smallint NOT NULL DEFAULT 0;
      -- sealed: its process ended in order, so that no promise on a counter is lost. fenced_until: one was lost perhaps.
      ALTER TABLE quota.reserve ADD COLUMN sealed boolean NOT NULL DEFAULT true, ADD COLUMN fenced_until timestamptz;

      DO $$ BEGIN
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'tollgate_app') THEN
          GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA quota TO tollgate_app;
          GRANT UPDATE ON quota.budget, quota.budget_override, quota.rules_revision, quota.rules_change, quota.counter, quota.tally TO tollgate_app;
          GRANT DELETE ON quota.budget_override, quota.budget_top_up, quota.route, quota.counter, quota.counter_value, quota.warming_delta, quota.placement, quota.crossing
            TO tollgate_app;
        END IF;
      END $$;
    `);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`
      ALTER TABLE quota.reserve DROP COLUMN sealed, DROP COLUMN fenced_until;
      ALTER TABLE quota.capture DROP COLUMN tokens, DROP COLUMN requests;
      ALTER TABLE quota.hold DROP COLUMN tags, DROP COLUMN source_id;
      DROP TABLE quota.crossing, quota.placement, quota.tally, quota.warming_delta, quota.counter_value, quota.counter, quota.rules_change, quota.rules_revision,
        quota.route, quota.budget_top_up, quota.budget_override, quota.budget;
    `);
  }
}
