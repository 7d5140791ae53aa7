import type { Sql } from '../../platform/postgres/database.js';

/** The number that every change of tenants, plans and keys raises. @throws DomainError storage.unavailable */
export async function readRevision(sql: Sql): Promise<bigint> {
  const [row] = await sql.query<{ revision: bigint }>({ name: 'tenancy.revision', text: 'SELECT revision FROM tenancy.revision' }, []);
  if (row === undefined) throw new Error('tenancy.revision has lost its row');
  return row.revision;
}
