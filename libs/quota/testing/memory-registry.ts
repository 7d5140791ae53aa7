/** Gives epochs as PostgreSQL would, for tests that are about the store alone. */
import type { NodeRegistry } from '../redis/redis-node.js';

export class MemoryRegistry implements NodeRegistry {
  private last = 0n;
  private readonly given = new Map<string, { readonly runId: string; readonly epoch: bigint }>();

  readonly claim = async (node: string, runId: string, lost: bigint | null): Promise<{ epoch: bigint; isFresh: boolean }> => {
    await Promise.resolve();
    const known = this.given.get(node);
    if (known?.runId === runId && known.epoch !== lost) return { epoch: known.epoch, isFresh: false };
    this.last += 1n;
    this.given.set(node, { runId, epoch: this.last });
    return { epoch: this.last, isFresh: true };
  };

  readonly epochs = async (): Promise<ReadonlyMap<string, bigint>> => {
    await Promise.resolve();
    return new Map([...this.given].map(([node, { epoch }]) => [node, epoch]));
  };

  readonly keepOnly = async (nodes: readonly string[]): Promise<void> => {
    await Promise.resolve();
    for (const node of this.given.keys()) if (!nodes.includes(node)) this.given.delete(node);
  };

  /** As if another server had been met under every name. */
  bump(): void {
    for (const [node, { epoch }] of this.given) this.given.set(node, { runId: 'another server', epoch });
  }
}
