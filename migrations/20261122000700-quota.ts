import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * What the quota store is rebuilt from: holds, what events took from them, how much was promised ahead, who may promise, and the log of
 * decisions. The store itself lives in memory (or Redis); these tables are the truth it is compared with.
 */
export class Quota20261122000700 implements MigrationInterface {
  readonly name = 'Quota20261122000700';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      CREATE SCHEMA quota;

      -- Fencing: whoever holds the process lock takes the next epoch; postings of an older one are refused.
      CREATE TABLE quota.epoch (
        only_row boolean     PRIMARY KEY DEFAULT true CHECK (only_row),
        epoch    bigint      NOT NULL,
        taken_at timestamptz NOT NULL
      );
      INSERT INTO quota.epoch (epoch, taken_at) VALUES (0, now());

      -- Reserve ahead: holds are handed out only up to ceiling_nano, committed before use. recorded_nano: the sum of all hold amounts that
      -- reached quota.hold. After a crash the difference is what may have been promised without a trace, and counts as held for one TTL.
      CREATE TABLE quota.reserve (
        tenant_id     text   PRIMARY KEY,
        ceiling_nano  bigint NOT NULL CHECK (ceiling_nano >= 0),
        recorded_nano bigint NOT NULL DEFAULT 0 CHECK (recorded_nano BETWEEN 0 AND ceiling_nano),
        epoch         bigint NOT NULL
      );

      -- kind fence: stands for promises that a crash may have lost; released by itself.
      CREATE TABLE quota.hold (
        hold_id           uuid        PRIMARY KEY,
        tenant_id         text        NOT NULL,
        kind              text        NOT NULL DEFAULT 'call' CHECK (kind IN ('call', 'fence')),
        state             text        NOT NULL CHECK (state IN ('active', 'settled', 'released', 'unresolved')),
        resolution        text,
        amount_nano       bigint      NOT NULL CHECK (amount_nano BETWEEN 0 AND 9000000000000000),
        captured_nano     bigint      NOT NULL DEFAULT 0 CHECK (captured_nano >= 0),
        call_id           text,
        call_digest       bytea,
        body_hash         bytea,
        policy            text        NOT NULL CHECK (policy IN ('charge_input', 'charge_estimate', 'charge_hold', 'release')),
        created_at        timestamptz NOT NULL,
        expires_at        timestamptz NOT NULL,
        resolved_at       timestamptz,
        provider          text,
        model             text,
        requested_model   text,
        input_tokens      integer,
        max_output_tokens integer,
        user_id           text,
        feature           text,
        environment       text,
        assistant_id      text,
        thread_id         text,
        api_key_id        text,
        request_id        text,
        price_version     text,
        CHECK ((state = 'active') = (resolved_at IS NULL))
      );
      CREATE INDEX hold_active ON quota.hold (tenant_id) WHERE state = 'active';
      CREATE INDEX hold_due ON quota.hold (expires_at) WHERE state = 'active';
      CREATE INDEX hold_unresolved ON quota.hold (tenant_id, call_digest) WHERE state = 'unresolved';
      CREATE INDEX hold_uncharged ON quota.hold (tenant_id) WHERE state = 'unresolved' AND policy <> 'release' AND resolution = 'expired';
      CREATE INDEX hold_ended ON quota.hold (resolved_at) WHERE state IN ('settled', 'released');
      CREATE INDEX hold_run_out ON quota.hold (resolved_at) WHERE state = 'unresolved';
      CREATE INDEX hold_recent ON quota.hold (tenant_id, resolved_at) WHERE call_digest IS NOT NULL AND state <> 'active';
      CREATE INDEX hold_by_tenant ON quota.hold (tenant_id, hold_id);
      -- H5: at most one live hold per call.
      CREATE UNIQUE INDEX hold_one_per_call ON quota.hold (tenant_id, call_digest) WHERE state = 'active';

      -- What booked events took from holds, written in the posting transaction; the sum over a hold is what it has captured.
      CREATE TABLE quota.capture (
        tenant_id   text        NOT NULL,
        event_id    uuid        NOT NULL,
        sign        smallint    NOT NULL CHECK (sign IN (-1, 1)),
        hold_id     uuid,
        call_digest bytea,
        charge_nano bigint      NOT NULL CHECK (charge_nano >= 0),
        closes      boolean     NOT NULL,
        provisional boolean     NOT NULL,
        tenant_seq  bigint,
        posted_at   timestamptz NOT NULL,
        PRIMARY KEY (tenant_id, event_id, sign),
        CHECK (hold_id IS NOT NULL OR call_digest IS NOT NULL)
      );
      CREATE INDEX capture_by_hold ON quota.capture (hold_id) WHERE hold_id IS NOT NULL;
      CREATE INDEX capture_by_time ON quota.capture (posted_at);
      CREATE INDEX capture_by_call ON quota.capture (tenant_id, call_digest) WHERE call_digest IS NOT NULL;

      CREATE TABLE quota.decision (
        decision_id uuid        PRIMARY KEY,
        at          timestamptz NOT NULL,
        tenant_id   text        NOT NULL,
        call_id     text,
        decision    text        NOT NULL CHECK (decision IN ('allow', 'downgrade', 'block')),
        would       text        CHECK (would IN ('allow', 'downgrade', 'block')),
        reason      text        NOT NULL,
        hold_id     uuid,
        numbers     jsonb       NOT NULL
      );
      CREATE INDEX decision_by_time ON quota.decision (at);
      CREATE INDEX decision_by_tenant ON quota.decision (tenant_id, decision_id);

      -- Output sizes seen per (tenant, feature, model) in logarithmic buckets: what the learned estimate is made of.
      CREATE TABLE quota.output_size (
        tenant_id text     NOT NULL,
        feature   text     NOT NULL,
        model     text     NOT NULL,
        bucket    smallint NOT NULL,
        calls     bigint   NOT NULL,
        PRIMARY KEY (tenant_id, feature, model, bucket)
      );

      DO $$ BEGIN
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'tollgate_app') THEN
          GRANT USAGE ON SCHEMA quota TO tollgate_app;
          GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA quota TO tollgate_app;
          GRANT UPDATE ON quota.epoch, quota.reserve, quota.hold, quota.output_size TO tollgate_app;
          GRANT DELETE ON quota.hold, quota.capture, quota.decision TO tollgate_app;
        END IF;
      END $$;
    `);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`DROP SCHEMA quota CASCADE`);
  }
}
