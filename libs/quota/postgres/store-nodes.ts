/**
 * Which server of a shared store was given which epoch. Guarantees: a server is given the same epoch for as long as its `run_id` stays, and
 * another one otherwise, whichever process meets it first; two servers never have the same; and a program that lays state out in an older way
 * stops promising when a newer one has met the server, instead of keeping a second truth.
 */
import { DomainError } from '#libs/kernel/index.js';
import { textArray } from '#libs/platform/postgres/array-literal.js';
import type { Database, Sql } from '#libs/platform/postgres/database.js';

interface NodeRow {
  readonly run_id: string;
  readonly layout: number;
  readonly epoch: bigint;
}

/** @param input.lost an epoch whose state the server has lost, as its missing marker says @throws DomainError storage.unavailable, quota.newer_layout */
export async function claimNode(
  database: Database,
  input: { node: string; runId: string; layout: number; lost: bigint | null; at: Date },
): Promise<{ epoch: bigint; isFresh: boolean }> {
  const { node, runId, layout, lost, at } = input;
  return await database.transaction(async (tx) => {
    // Whoever meets a new server waits here for whoever met it first.
    const epochs = await tx.query<{ epoch: bigint }>('SELECT epoch FROM quota.epoch FOR UPDATE', []);
    const [known] = await tx.query<NodeRow>('SELECT run_id, layout, epoch FROM quota.store_node WHERE node = $1', [node]);
    if (known && known.layout > layout) throw newerLayout();
    if (known?.run_id === runId && known.layout === layout && known.epoch !== lost) return { epoch: known.epoch, isFresh: false };
    const epoch = (epochs[0]?.epoch ?? 0n) + 1n;
    await tx.execute('UPDATE quota.epoch SET epoch = $1, taken_at = $2', [epoch, at]);
    await tx.execute(
      `INSERT INTO quota.store_node (node, run_id, layout, epoch, taken_at) VALUES ($1, $2, $3, $4, $5)
       ON CONFLICT (node) DO UPDATE SET run_id = excluded.run_id, layout = excluded.layout, epoch = excluded.epoch, taken_at = excluded.taken_at`,
      [node, runId, layout, epoch, at],
    );
    return { epoch, isFresh: true };
  });
}

export async function readNodeEpochs(sql: Sql): Promise<Map<string, bigint>> {
  const rows = await sql.query<{ node: string; epoch: bigint }>({ name: 'quota.node-epochs', text: 'SELECT node, epoch FROM quota.store_node' }, []);
  return new Map(rows.map((row) => [row.node, row.epoch]));
}

/** Nodes that serve no more are forgotten: what comes back under their names has missed what happened meanwhile. */
export async function keepOnlyNodes(sql: Sql, nodes: readonly string[]): Promise<void> {
  await sql.execute('DELETE FROM quota.store_node WHERE NOT (node = ANY($1::text[]))', [textArray(nodes)]);
}

function newerLayout(): DomainError {
  return new DomainError({
    code: 'quota.newer_layout',
    kind: 'unavailable',
    publicMessage: 'a newer program keeps the quota state in another layout; this one promises nothing more',
    retryAfterMs: 1_000,
  });
}
