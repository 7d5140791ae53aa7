/** The shared store with what proves the right to promise from it, and how its servers get their epochs. */
import type { Clock } from '#libs/kernel/index.js';
import type { Database } from '#libs/platform/postgres/database.js';
import type { QuotaFence } from '../application/ports.js';
import type { QuotaStore } from '../application/quota-store.js';
import { claimNode, keepOnlyNodes, readNodeEpochs } from '../postgres/store-nodes.js';
import { RedisFence } from './redis-fence.js';
import { RedisNodes, type RedisTarget } from './redis-nodes.js';
import { RedisQuotaStore } from './redis-quota-store.js';
import { STATE_LAYOUT } from './tenant-keys.js';

export interface QuotaRedis {
  readonly store: QuotaStore;
  readonly fence: QuotaFence;
  /** Waits until every server may be used. @throws Error that names the setting when a server may evict quota state, or that none answered */
  readonly ready: (timeoutMs: number) => Promise<void>;
  /** What keeps state from being used; empty when nothing does. */
  readonly problems: () => string[];
  readonly close: () => void;
}

export interface QuotaRedisOptions {
  readonly target: RedisTarget;
  readonly database: Database;
  readonly clock: Clock;
  /** After this, a decision that waits for a server goes by its tenant's `on_store_failure`. */
  readonly deadlineMs: number;
  /** Hears of trouble with a server; may be called often. */
  readonly report: (message: string, error: unknown) => void;
}

/** Connects in the background: until a server has its epoch, nothing is promised of its tenants. */
export function openQuotaRedis({ target, database, clock, deadlineMs, report }: QuotaRedisOptions): QuotaRedis {
  const registry = {
    claim: async (node: string, runId: string, lost: bigint | null) => await claimNode(database, { node, runId, lost, layout: STATE_LAYOUT, at: clock.now() }),
    epochs: async () => await readNodeEpochs(database),
    keepOnly: async (nodes: readonly string[]) => await keepOnlyNodes(database, nodes),
  };
  const nodes = new RedisNodes({ target, registry, settings: { deadlineMs }, report });
  return {
    store: new RedisQuotaStore(nodes),
    fence: new RedisFence(nodes),
    ready: async (timeoutMs) => await nodes.ready(timeoutMs),
    problems: () => nodes.problems(),
    close: () => nodes.close(),
  };
}
