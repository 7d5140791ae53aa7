import type { MigrationInterface, QueryRunner } from 'typeorm';

/** A tenant's active holds are found by hold_one_per_call, which begins with the tenant and holds the same rows: a second index cost every hold an entry. */
export class QuotaHoldIndex20261122000720 implements MigrationInterface {
  readonly name = 'QuotaHoldIndex20261122000720';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query('DROP INDEX quota.hold_active');
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`CREATE INDEX hold_active ON quota.hold (tenant_id) WHERE state = 'active'`);
  }
}
