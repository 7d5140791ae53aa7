import type { MigrationInterface, QueryRunner } from 'typeorm';

/** What the operator sets about prices. Every change is a new revision; a revision is never edited, so a stored price version stays explainable. */
export class Pricing20261122000300 implements MigrationInterface {
  readonly name = 'Pricing20261122000300';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      CREATE SCHEMA pricing;

      -- prices: {"<component>": "<decimal USD per unit>"}; a component left out falls through to the base book.
      CREATE TABLE pricing.price_override (
        override_id    text        NOT NULL,
        revision       integer     NOT NULL CHECK (revision > 0),
        provider       text        NOT NULL,
        model          text        NOT NULL,
        prices         jsonb       NOT NULL,
        effective_from timestamptz NOT NULL,
        effective_to   timestamptz CHECK (effective_to > effective_from),
        created_at     timestamptz NOT NULL,
        PRIMARY KEY (override_id, revision)
      );
      SELECT platform.make_append_only('pricing.price_override');

      -- What a tenant pays: cost plus markup_percent, or a price of its own per component.
      CREATE TABLE pricing.rate_card (
        rate_card_id   text          NOT NULL,
        revision       integer       NOT NULL CHECK (revision > 0),
        markup_percent numeric(9, 4) NOT NULL CHECK (markup_percent >= -100),
        prices         jsonb         NOT NULL DEFAULT '[]',
        created_at     timestamptz   NOT NULL,
        PRIMARY KEY (rate_card_id, revision)
      );
      SELECT platform.make_append_only('pricing.rate_card');

      -- source_id '' is every source. An alias somebody set is never overwritten by a learned one.
      CREATE TABLE pricing.model_alias (
        source_id  text        NOT NULL,
        alias      text        NOT NULL,
        provider   text        NOT NULL,
        model      text        NOT NULL,
        learned    boolean     NOT NULL,
        updated_at timestamptz NOT NULL,
        PRIMARY KEY (source_id, alias, provider, model)
      );
      CREATE UNIQUE INDEX model_alias_set ON pricing.model_alias (source_id, alias) WHERE NOT learned;

      -- Counts decisions, so that a process sees with one row that its prices in memory are old. Updating it also orders decisions.
      CREATE TABLE pricing.decision_count (
        one      boolean PRIMARY KEY DEFAULT true CHECK (one),
        revision bigint  NOT NULL DEFAULT 0
      );
      INSERT INTO pricing.decision_count DEFAULT VALUES;

      DO $$ BEGIN
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'tollgate_app') THEN
          GRANT USAGE ON SCHEMA pricing TO tollgate_app;
          GRANT SELECT, INSERT ON pricing.price_override, pricing.rate_card TO tollgate_app;
          GRANT SELECT, INSERT, UPDATE, DELETE ON pricing.model_alias TO tollgate_app;
          GRANT SELECT, UPDATE ON pricing.decision_count TO tollgate_app;
        END IF;
      END $$;
    `);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`DROP SCHEMA pricing CASCADE`);
  }
}
