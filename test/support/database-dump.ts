import pg from 'pg';

/** Every row version of every table there is: two equal dumps mean that no row was inserted, updated or deleted in between. */
export async function dumpRowVersions(ownerUrl: string): Promise<Record<string, string>> {
  const owner = new pg.Client({ connectionString: ownerUrl, application_name: 'test-dump' });
  await owner.connect();
  try {
    const tables = await owner.query<{ name: string }>(
      `SELECT format('%I.%I', n.nspname, c.relname) AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind = 'r' AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') ORDER BY 1`,
    );
    const dump: Record<string, string> = {};
    for (const { name } of tables.rows) {
      const { rows } = await owner.query<{ versions: string | null }>(
        `SELECT string_agg(ctid::text || ':' || xmin::text, ',' ORDER BY ctid) AS versions FROM ${name}`,
      );
      dump[name] = rows[0]?.versions ?? '';
    }
    return dump;
  } finally {
    await owner.end();
  }
}
