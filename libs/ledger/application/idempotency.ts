/**
 * The first answer to an Idempotency-Key is stored in the transaction that it reports, and given again word for word. The tenant's balance
 * row is locked before the key is looked up, so of two requests at once the second waits and then finds the first one's answer (L6).
 * Refusals are not stored: a request that moved nothing may be tried again under its key.
 */
import { digest128, DomainError, type Json } from '#libs/kernel/index.js';
import type { Sql } from '#libs/platform/postgres/database.js';
import { LedgerStore, type LockedTenant } from './ports.js';

export interface IdempotencyKey<Receipt> {
  /** As given by the caller; unique per tenant and operation. */
  readonly key: string;
  /** {@link fingerprintOf} of everything the caller asked for. */
  readonly fingerprint: Buffer;
  /** The answer to store. */
  present(receipt: Receipt): string;
}

/** `replayed` carries the first answer's text, `done` what has just happened. */
export type Once<Receipt> = { readonly outcome: 'done'; readonly receipt: Receipt } | { readonly outcome: 'replayed'; readonly answer: string };

/** 16 bytes that are equal for equal JSON, whatever the order of fields. */
export function fingerprintOf(request: Json): Buffer {
  return digest128(canonical(request));
}

/**
 * Locks the tenant and runs `work` unless the key was answered before.
 * @throws DomainError idempotency.conflict when the key was used for another request
 */
export async function answerOnce<Receipt>(
  store: LedgerStore,
  tx: Sql,
  request: { tenantId: string; scope: string; idempotency: IdempotencyKey<Receipt> | null },
  work: (locked: ReadonlyMap<string, LockedTenant>, tenant: LockedTenant) => Promise<Receipt>,
): Promise<Once<Receipt>> {
  const { tenantId, scope, idempotency } = request;
  const locked = await store.lockTenants(tx, [tenantId]);
  const tenant = locked.get(tenantId);
  if (tenant === undefined) throw new Error(`tenant ${tenantId} was not locked`);
  if (idempotency === null) return { outcome: 'done', receipt: await work(locked, tenant) };

  const first = await store.findAnswer(tx, tenantId, scope, idempotency.key);
  if (first !== null) {
    if (!first.requestHash.equals(idempotency.fingerprint)) throw conflictingKey();
    return { outcome: 'replayed', answer: first.response };
  }
  const receipt = await work(locked, tenant);
  const answer = { requestHash: idempotency.fingerprint, response: idempotency.present(receipt) };
  await store.saveAnswer(tx, tenantId, scope, idempotency.key, answer, tenant.bookedAt);
  return { outcome: 'done', receipt };
}

function conflictingKey(): DomainError {
  return new DomainError({
    code: 'idempotency.conflict',
    kind: 'conflict',
    publicMessage: 'this Idempotency-Key was used for another request; nothing was changed',
  });
}

function canonical(value: Json): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  const fields = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${fields.map(([name, field]) => `${JSON.stringify(name)}:${canonical(field)}`).join(',')}}`;
}
