/** Tenants are spread over a fixed number of shards; one poster works a shard at a time, so a tenant's postings never race. */
export const SHARD_COUNT = 8;

/** FNV-1a of the tenant id, so that every process and every release agrees. */
export function shardOf(tenantId: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < tenantId.length; index += 1) {
    hash = Math.imul(hash ^ tenantId.charCodeAt(index), 0x01000193) >>> 0;
  }
  return hash % SHARD_COUNT;
}
