/** The quota stores as tests open them: in memory, on one Redis, on a cluster. */
import type { QuotaStore } from '../../libs/quota/application/quota-store.js';
import { MemoryQuotaStore } from '../../libs/quota/memory/memory-quota-store.js';
import { RedisNodes, type RedisTarget } from '../../libs/quota/redis/redis-nodes.js';
import { RedisQuotaStore } from '../../libs/quota/redis/redis-quota-store.js';
import { MemoryRegistry } from '../../libs/quota/testing/memory-registry.js';

export interface OpenStore {
  readonly store: QuotaStore;
  /** Everything becomes unknown: memory forgets, a Redis is taken for another server that still has the old state. */
  crash(): Promise<void>;
  close(): void;
}

const DEADLINE_MS = 30_000;

export function openMemoryStore(): OpenStore {
  const store = new MemoryQuotaStore();
  return { store, crash: async () => await store.forgetAll(), close: () => undefined };
}

export async function openRedisStore(target: RedisTarget): Promise<OpenStore & { readonly nodes: RedisNodes; readonly registry: MemoryRegistry }> {
  const registry = new MemoryRegistry();
  const nodes = new RedisNodes({ target, registry, settings: { deadlineMs: DEADLINE_MS }, report: () => undefined });
  const store = new RedisQuotaStore(nodes);
  await nodes.ready(DEADLINE_MS);
  return {
    store,
    nodes,
    registry,
    crash: async () => {
      registry.bump();
      for (const node of nodes.all()) node.recheck();
      await nodes.ready(DEADLINE_MS);
    },
    close: () => nodes.close(),
  };
}
