import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Gateways that ask before a call say who asks in headers; each source may name its own. */
export class SourceAuthorizeHeaders20261122000850 implements MigrationInterface {
  readonly name = 'SourceAuthorizeHeaders20261122000850';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(
      `ALTER TABLE metering.source ADD COLUMN authorize_headers jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(authorize_headers) = 'object')`,
    );
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('ALTER TABLE metering.source DROP COLUMN authorize_headers');
  }
}
