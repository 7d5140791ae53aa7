import { DomainError } from '#libs/kernel/index.js';
import type { Caller } from '#libs/tenancy/index.js';

/** The one answer for a tenant that does not exist and for one that is not the caller's: they must not be told apart. */
export function tenantNotFound(): DomainError {
  return new DomainError({ code: 'tenant.not_found', kind: 'not_found', publicMessage: 'there is no such tenant' });
}

/** Lets a caller bound to a tenant at that tenant only. @throws DomainError tenant.not_found */
export function assertTenantAccess(caller: Caller, tenantId: string): void {
  if (!maySeeTenant(caller, tenantId)) throw tenantNotFound();
}

/** Whether rows of `tenantId` may be shown to the caller; null is a row of no tenant, which only unbound keys see. */
export function maySeeTenant(caller: Caller, tenantId: string | null): boolean {
  return caller.tenantId === null || caller.tenantId === tenantId;
}

/**
 * The tenant a list is narrowed to: the asked-for one, or the caller's own for a bound key.
 * @throws DomainError tenant.not_found when a bound key asks for another tenant
 */
export function tenantFilter(caller: Caller, asked: string | undefined): string | undefined {
  if (asked !== undefined) assertTenantAccess(caller, asked);
  return asked ?? caller.tenantId ?? undefined;
}
