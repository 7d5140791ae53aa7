import { UNKNOWN_TENANT_ID, type ListTenants } from '#libs/tenancy/index.js';

const PAGE = 500;

/** The ids of all tenants, the one for calls without a tenant among them. @throws DomainError storage.unavailable */
export async function everyTenantId(tenants: ListTenants): Promise<string[]> {
  const ids = new Set<string>([UNKNOWN_TENANT_ID]);
  for (let after: string | undefined; ;) {
    const page = await tenants.execute({ limit: PAGE, ...(after === undefined ? {} : { after }) });
    for (const { tenantId } of page) ids.add(tenantId);
    if (page.length <= PAGE) return [...ids];
    after = page.at(-1)?.tenantId;
  }
}
