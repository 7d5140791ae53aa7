import type { MigrationInterface, QueryRunner } from 'typeorm';

/** How a call was asked for, beside what it would take: a draft budget that is tried on the past must ask the same question. */
export class QuotaAskTerms20261122000970 implements MigrationInterface {
  readonly name = 'QuotaAskTerms20261122000970';

  async up(runner: QueryRunner): Promise<void> {
    // Words of critical, same_provider, as_asked, fixed_length with a space between; null: none of them, or a hold from before this column.
    await runner.query('ALTER TABLE quota.hold ADD COLUMN terms text');
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('ALTER TABLE quota.hold DROP COLUMN terms');
  }
}
