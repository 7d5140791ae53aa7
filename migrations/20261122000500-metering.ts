import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * The durable inbox and what became of each event.
 * event_key makes one event of many deliveries; call makes one call of several reports; event is written once and never again;
 * pending is the poster's work list; posting says what was booked, revision by revision.
 */
export class Metering20261122000500 implements MigrationInterface {
  readonly name = 'Metering20261122000500';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      CREATE SCHEMA metering;

      CREATE TABLE metering.source (
        source_id     text        PRIMARY KEY,
        gateway       text        NOT NULL CHECK (gateway IN ('api', 'litellm')),
        trust_tenant  boolean     NOT NULL DEFAULT true,
        trust_cost    boolean     NOT NULL DEFAULT false,
        attribution   jsonb       NOT NULL DEFAULT '{}',
        defaults      jsonb       NOT NULL DEFAULT '{}',
        on_new_tenant text        NOT NULL DEFAULT 'create' CHECK (on_new_tenant IN ('create', 'unknown', 'block')),
        created_at    timestamptz NOT NULL,
        updated_at    timestamptz NOT NULL
      );
      INSERT INTO metering.source (source_id, gateway, created_at, updated_at)
      VALUES ('api', 'api', now(), now()), ('litellm', 'litellm', now(), now());
      -- Ours: POST /v1/holds/{id}/settle, and the provisional charges of holds whose call nobody reported.
      INSERT INTO metering.source (source_id, gateway, trust_cost, created_at, updated_at)
      VALUES ('settle', 'api', true, now(), now()), ('hold', 'api', true, now(), now());

      -- digest: 16 bytes of (namespace, event_id); content_hash: identity, usage and cost as the sender said them, before defaults.
      -- event_id, quality, content_hash point at the best report so far.
      CREATE TABLE metering.event_key (
        digest       bytea       NOT NULL PRIMARY KEY,
        content_hash bytea       NOT NULL,
        event_id     uuid        NOT NULL,
        quality      smallint    NOT NULL,
        received_at  timestamptz NOT NULL
      ) PARTITION BY HASH (digest);
      DO $$ BEGIN
        FOR part IN 0..7 LOOP
          EXECUTE format('CREATE TABLE metering.event_key_%s PARTITION OF metering.event_key FOR VALUES WITH (MODULUS 8, REMAINDER %s)', part, part);
        END LOOP;
      END $$;

      -- digest: 16 bytes of (tenant, kind, value), kind one of hold, call_id, response. discriminator tells calls of one name apart.
      CREATE TABLE metering.call (
        digest          bytea    NOT NULL PRIMARY KEY,
        figures_hash    bytea    NOT NULL,
        discriminator   bytea,
        event_id        uuid     NOT NULL,
        quality         smallint NOT NULL
      ) PARTITION BY HASH (digest);
      DO $$ BEGIN
        FOR part IN 0..7 LOOP
          EXECUTE format('CREATE TABLE metering.call_%s PARTITION OF metering.call FOR VALUES WITH (MODULUS 8, REMAINDER %s)', part, part);
        END LOOP;
      END $$;

      CREATE TABLE metering.event (
        event_id           uuid        NOT NULL,
        received_at        timestamptz NOT NULL,
        occurred_at        timestamptz NOT NULL,
        source_id          text        NOT NULL,
        external_id        text        NOT NULL,
        tenant_id          text        NOT NULL,
        status             text        NOT NULL CHECK (status IN ('success', 'error', 'cancelled', 'blocked')),
        quality            smallint    NOT NULL,
        usage              jsonb,
        claimed_cost_nano  bigint,
        cost_trusted       boolean     NOT NULL,
        provider           text,
        model              text,
        requested_model    text,
        call_id            text,
        hold_id            uuid,
        ends_call          boolean     NOT NULL,
        corrects_event_id  uuid,
        user_id            text,
        feature            text,
        environment        text        NOT NULL,
        assistant_id       text,
        thread_id          text,
        api_key_id         text,
        request_id         text,
        latency_ms         integer,
        ttft_ms            integer,
        stream             boolean,
        error              text,
        tags               jsonb,
        metadata           jsonb,
        PRIMARY KEY (event_id, received_at)
      ) PARTITION BY RANGE (received_at);
      CREATE INDEX event_by_tenant ON metering.event (tenant_id, event_id);

      -- Partitions by month of receipt, so that retention is a dropped partition. Made ahead by the owner, for an app role that owns nothing.
      CREATE FUNCTION metering.ensure_event_partitions(months_ahead integer) RETURNS void
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
      DECLARE
        month_start timestamptz;
        partition_name text;
      BEGIN
        PERFORM pg_advisory_xact_lock(hashtext('metering.ensure_event_partitions'));
        FOR ahead IN -1..months_ahead LOOP
          month_start := date_trunc('month', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' + make_interval(months => ahead);
          partition_name := 'event_' || to_char(month_start AT TIME ZONE 'UTC', 'YYYYMM');
          IF to_regclass('metering.' || partition_name) IS NULL THEN
            EXECUTE format('CREATE TABLE metering.%I PARTITION OF metering.event FOR VALUES FROM (%L) TO (%L)',
              partition_name, month_start, ((month_start AT TIME ZONE 'UTC') + interval '1 month') AT TIME ZONE 'UTC');
            PERFORM platform.make_append_only(('metering.' || partition_name)::regclass);
          END IF;
        END LOOP;
      END $$;
      SELECT platform.make_append_only('metering.event');
      SELECT metering.ensure_event_partitions(12);

      -- Rows live for a moment: without early vacuums the list would be searched through what was posted long ago.
      -- requeued: out of quarantine, so it may have postings already.
      CREATE TABLE metering.pending (
        shard       smallint    NOT NULL,
        event_id    uuid        NOT NULL,
        requeued    boolean     NOT NULL DEFAULT false,
        received_at timestamptz NOT NULL,
        queued_at   timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (shard, event_id)
      ) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_insert_threshold = -1);

      -- state: posted (booked, charge may be 0), quarantined (no price or no usage: nothing booked), reversed (the booking was taken back).
      -- [interval_from, interval_to): the event's nano-USD inside its transaction's burn, in burn order.
      -- lines: one a line: quantity, femto-USD a unit, nano-USD of cost, nano-USD of charge, component. Half the bytes of the row as jsonb.
      CREATE TABLE metering.posting (
        event_id       uuid        NOT NULL,
        revision       integer     NOT NULL CHECK (revision > 0),
        state          text        NOT NULL CHECK (state IN ('posted', 'quarantined', 'reversed')),
        tenant_id      text        NOT NULL,
        transaction_id uuid,
        cost_nano      bigint      NOT NULL,
        charge_nano    bigint      NOT NULL,
        lines          text        NOT NULL,
        price_version  text,
        interval_from  bigint,
        interval_to    bigint      CHECK (interval_to - interval_from = charge_nano),
        reason         text,
        posted_at      timestamptz NOT NULL,
        provider       text        NOT NULL,
        model          text        NOT NULL,
        PRIMARY KEY (event_id, revision),
        CHECK (state <> 'quarantined' OR (transaction_id IS NULL AND cost_nano = 0 AND charge_nano = 0 AND reason IS NOT NULL))
      );
      SELECT platform.make_append_only('metering.posting');

      -- Events that wait for a price, a usage figure or an operator; the row goes when the event is posted.
      CREATE TABLE metering.quarantine (
        event_id    uuid        PRIMARY KEY,
        tenant_id   text        NOT NULL,
        reason      text        NOT NULL,
        provider    text,
        model       text,
        received_at timestamptz NOT NULL,
        since       timestamptz NOT NULL
      );

      -- What could not be accepted, without prompts; a conflict is kept here beside the event it disagreed with.
      CREATE TABLE metering.dead_letter (
        dead_letter_id uuid        PRIMARY KEY,
        received_at    timestamptz NOT NULL,
        source_id      text        NOT NULL,
        tenant_id      text,
        external_id    text,
        code           text        NOT NULL,
        path           text,
        detail         text        NOT NULL,
        item           text        NOT NULL,
        kept_event_id  uuid,
        attempts       integer     NOT NULL DEFAULT 0,
        replayed_at    timestamptz,
        replay_outcome text
      );
      CREATE INDEX dead_letter_open ON metering.dead_letter (dead_letter_id) WHERE replayed_at IS NULL;

      REVOKE ALL ON FUNCTION metering.ensure_event_partitions FROM PUBLIC;
      DO $$ BEGIN
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'tollgate_app') THEN
          GRANT USAGE ON SCHEMA metering TO tollgate_app;
          GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA metering TO tollgate_app;
          GRANT UPDATE ON metering.source, metering.event_key, metering.call, metering.dead_letter, metering.quarantine TO tollgate_app;
          GRANT DELETE ON metering.event_key, metering.call, metering.pending, metering.quarantine TO tollgate_app;
          GRANT EXECUTE ON FUNCTION metering.ensure_event_partitions TO tollgate_app;
        END IF;
      END $$;
    `);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`DROP SCHEMA metering CASCADE`);
  }
}
