import type { MigrationInterface, QueryRunner } from 'typeorm';

/** A tenant's recent credits, spent ones included: what "20 % of it are left" is measured against. */
export class LedgerLotsByTenant20261122000910 implements MigrationInterface {
  readonly name = 'LedgerLotsByTenant20261122000910';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`CREATE INDEX lot_by_tenant ON ledger.lot (tenant_id, created_at)`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`DROP INDEX ledger.lot_by_tenant`);
  }
}
