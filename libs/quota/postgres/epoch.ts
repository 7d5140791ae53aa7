import { DomainError } from '#libs/kernel/index.js';
import { plainArray } from '#libs/platform/postgres/array-literal.js';
import type { Sql } from '#libs/platform/postgres/database.js';
import type { QuotaFence } from '../application/ports.js';

/** Takes the next epoch: every process that promised before is stale from now on. Run it in the session that holds the process lock. */
export async function takeEpoch(sql: Pick<Sql, 'query'>, at: Date): Promise<bigint> {
  const [row] = await sql.query<{ epoch: bigint }>('UPDATE quota.epoch SET epoch = epoch + 1, taken_at = $1 RETURNING epoch', [at]);
  if (!row) throw new DomainError({ code: 'storage.unavailable', kind: 'unavailable', publicMessage: 'the epoch could not be taken', retryAfterMs: 1_000 });
  return row.epoch;
}

/** Refuses to go on in a transaction of a process whose epoch is over; holds the epoch still until the transaction ends. */
export async function assertEpoch(tx: Sql, epoch: bigint): Promise<void> {
  const [row] = await tx.query<{ epoch: bigint }>({ name: 'quota.assert-epoch', text: 'SELECT epoch FROM quota.epoch FOR SHARE' }, []);
  if (row?.epoch !== epoch)
    throw new DomainError({ code: 'quota.stale_epoch', kind: 'unavailable', publicMessage: 'another process has taken over', retryAfterMs: 1_000 });
}

/** As {@link assertEpoch}, of a shared store: whether the server that was given the epoch is still the one that counts. */
export async function assertNodeEpochs(tx: Sql, epochs: readonly bigint[]): Promise<void> {
  if (epochs.length === 0) return;
  const rows = await tx.query(
    { name: 'quota.assert-node-epochs', text: 'SELECT epoch FROM quota.store_node WHERE epoch = ANY($1::bigint[]) ORDER BY epoch FOR SHARE' },
    [plainArray(epochs)],
  );
  if (rows.length !== epochs.length)
    throw new DomainError({ code: 'quota.stale_epoch', kind: 'unavailable', publicMessage: 'the quota store is another one by now', retryAfterMs: 1_000 });
}

/** The epoch this process may write with at this moment. @throws DomainError quota.fenced */
export function epochOf(fence: QuotaFence): bigint {
  const epoch = fence.current();
  if (epoch === null)
    throw new DomainError({ code: 'quota.fenced', kind: 'unavailable', publicMessage: 'this process may not write at the moment', retryAfterMs: 1_000 });
  return epoch;
}
