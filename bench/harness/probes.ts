/** What the machine itself gives at this moment; absolute figures are read beside these. */
import { closeSync, fdatasyncSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';

export interface Probes {
  /** `select 1` round trips a second on one connection. */
  readonly selectOnePerS: number;
  /** 8 KiB appends made durable a second, one after the other. */
  readonly fsyncPerS: number;
}

const PROBE_MS = 1_000;

export async function probe(databaseUrl: string, directory: string): Promise<Probes> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  let trips = 0;
  for (const end = performance.now() + PROBE_MS; performance.now() < end; trips += 1) await client.query('select 1');
  await client.end();
  const path = join(directory, 'fsync-probe');
  const file = openSync(path, 'w');
  const block = Buffer.alloc(8_192, 1);
  let syncs = 0;
  for (const end = performance.now() + PROBE_MS; performance.now() < end; syncs += 1) {
    writeSync(file, block);
    fdatasyncSync(file);
  }
  closeSync(file);
  rmSync(path);
  return { selectOnePerS: Math.round((trips * 1_000) / PROBE_MS), fsyncPerS: Math.round((syncs * 1_000) / PROBE_MS) };
}
