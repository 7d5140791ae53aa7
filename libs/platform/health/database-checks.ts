import type { Database } from '../postgres/database.js';
import type { HealthChecks } from './health.js';

/** Readiness of the database, and whether the ledger is protected by the role or by its triggers alone. */
export function addDatabaseChecks(health: HealthChecks, input: { database: Database; role: string | null }): void {
  health.add('database', async () => {
    await input.database.query('SELECT 1');
    return { ok: true };
  });
  const note = input.role === null ? 'triggers only: the login may not create the role tollgate_app' : 'role and triggers';
  health.add('immutability', () => Promise.resolve({ ok: true, note }));
}
