/**
 * The tenant of a call. Guarantees that it cannot be forgotten unnoticed: the types require one; an empty one throws wherever code is
 * written and tested, and in production, where refusing would hurt a customer, goes on as `unknown` with a line in the log.
 */
import { TollgateTenantError } from './errors.js';
import type { FailureLog } from './log.js';

/** The tenant's id, or what finds it for the call at hand (an AsyncLocalStorage, a request). */
export type TenantSource = string | (() => string);

export const UNKNOWN_TENANT = 'unknown';

/** @throws TollgateTenantError where there is none and NODE_ENV is not `production` */
export function tenantOf(source: TenantSource, log: FailureLog): string {
  const named: unknown = typeof source === 'function' ? source() : source;
  if (typeof named === 'string' && named.trim() !== '') return named;
  if (!inProduction()) throw new TollgateTenantError('a model call names no tenant: pass tenantId');
  log.note((count) => `${count} model call(s) without a tenant, booked under "${UNKNOWN_TENANT}"`);
  return UNKNOWN_TENANT;
}

/** Runtimes without `process` are browsers' relatives: they have no NODE_ENV, and count as not production until a bundler says so. */
function inProduction(): boolean {
  const { process } = globalThis as { process?: { env?: Record<string, string | undefined> } };
  return process?.env?.['NODE_ENV'] === 'production';
}
