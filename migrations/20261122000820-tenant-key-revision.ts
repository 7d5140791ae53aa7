import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Keys of tenants are cached like tenants and service keys: every change of them raises the same number. */
export class TenantKeyRevision20261122000820 implements MigrationInterface {
  readonly name = 'TenantKeyRevision20261122000820';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(
      `CREATE TRIGGER raise_revision AFTER INSERT OR UPDATE OR DELETE ON tenancy.api_key FOR EACH STATEMENT EXECUTE FUNCTION tenancy.raise_revision()`,
    );
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TRIGGER raise_revision ON tenancy.api_key');
  }
}
