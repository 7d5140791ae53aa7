/**
 * The right to promise where several processes share a store: whoever is connected to the server that has the tenant, and knows the epoch that
 * server was given, may. Who else promises does not matter, because every promise is one step in that server.
 */
import { QuotaFence } from '../application/ports.js';
import type { RedisNodes } from './redis-nodes.js';

export class RedisFence extends QuotaFence {
  override readonly exclusive = false;

  constructor(private readonly nodes: RedisNodes) {
    super();
  }

  override current(tenantId?: string): bigint | null {
    if (tenantId !== undefined) return this.nodes.epochOf(tenantId);
    return this.nodes.all().find((node) => node.epoch !== null)?.epoch ?? null;
  }

  override onLost(listener: () => void): void {
    this.nodes.onReady((_node, isNew) => {
      if (isNew) listener();
    });
  }
}
