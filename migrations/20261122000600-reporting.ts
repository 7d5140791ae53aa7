import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Report A, fed in the posting transaction; month is the UTC service month of the event. A closed month gets a new revision, never an edit. */
export class Reporting20261122000600 implements MigrationInterface {
  readonly name = 'Reporting20261122000600';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      CREATE SCHEMA reporting;

      CREATE TABLE reporting.spend_month (
        tenant_id             text     NOT NULL,
        month                 date     NOT NULL CHECK (extract(day FROM month) = 1),
        provider              text     NOT NULL,
        model                 text     NOT NULL,
        environment           text     NOT NULL,
        revision              smallint NOT NULL DEFAULT 1 CHECK (revision > 0),
        requests              bigint   NOT NULL,
        input_tokens          bigint   NOT NULL,
        output_tokens         bigint   NOT NULL,
        cache_creation_tokens bigint   NOT NULL,
        cache_read_tokens     bigint   NOT NULL,
        cost_nano             bigint   NOT NULL,
        charge_nano           bigint   NOT NULL,
        PRIMARY KEY (tenant_id, month, provider, model, environment, revision)
      );
      CREATE INDEX spend_month_by_month ON reporting.spend_month (month, charge_nano DESC);

      CREATE VIEW public.tenant_spend_monthly AS
      SELECT DISTINCT ON (tenant_id, month, provider, model, environment)
        to_char(month, 'YYYY-MM') AS month, tenant_id, provider, model, environment, requests,
        input_tokens, output_tokens, cache_creation_tokens, cache_read_tokens,
        cost_nano / 1000000000::numeric AS cost_usd, charge_nano / 1000000000::numeric AS charge_usd,
        NULL::numeric AS reconciled_usd, NULL::numeric AS delta_usd, 'open'::text AS status, revision
      FROM reporting.spend_month
      ORDER BY tenant_id, month, provider, model, environment, revision DESC;

      DO $$ BEGIN
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'tollgate_app') THEN
          GRANT USAGE ON SCHEMA reporting TO tollgate_app;
          GRANT SELECT, INSERT, UPDATE ON reporting.spend_month TO tollgate_app;
          GRANT SELECT ON public.tenant_spend_monthly TO tollgate_app;
        END IF;
      END $$;
    `);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`DROP VIEW public.tenant_spend_monthly; DROP SCHEMA reporting CASCADE`);
  }
}
