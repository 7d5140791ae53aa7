/**
 * The servers that keep quota state and which tenant is on which: one server, or the masters of a cluster by hash slot. Each has its own
 * connection and its own epoch, so that the loss of one makes only its own tenants unknown. A slot that is served elsewhere is refused by
 * its old server; the map is then read again and the call fails, instead of following with an epoch that is not the other server's.
 */
import { Redis } from 'ioredis';
import { SECOND_MS } from '#libs/kernel/index.js';
import { away, RedisNode, type NodeListener, type NodeRegistry, type NodeSettings } from './redis-node.js';
import { indexKey, markerKey, tenantKeys } from './tenant-keys.js';

export interface RedisTarget {
  readonly urls: readonly string[];
  readonly cluster: boolean;
}

export interface RedisNodesOptions {
  readonly target: RedisTarget;
  readonly registry: NodeRegistry;
  readonly settings: NodeSettings;
  readonly report: (message: string, error: unknown) => void;
}

interface SlotRange {
  readonly from: number;
  readonly to: number;
  readonly host: string;
  readonly port: number;
}

const SINGLE = 'single';
const TEND_MS = 500;
const HEARTBEAT_MS = SECOND_MS;
const ASK_TIMEOUT_MS = 2 * SECOND_MS;

export class RedisNodes {
  private readonly nodes = new Map<string, RedisNode>();
  private slots: (RedisNode | undefined)[] = [];
  private readonly indexes = new Map<RedisNode, string>();
  private readonly listeners: ((node: RedisNode, isNew: boolean) => void)[] = [];
  private readonly timers: NodeJS.Timeout[] = [];
  private refreshing: Promise<void> | null = null;
  private closed = false;

  constructor(private readonly options: RedisNodesOptions) {
    const { target } = options;
    if (!target.cluster) {
      const node = this.open(
        SINGLE,
        target.urls[0] ?? '',
        markerKey(() => true),
      );
      this.slots = Array.from({ length: 16_384 }, () => node);
      this.indexes.set(
        node,
        indexKey(() => true),
      );
    } else void this.refresh();
    this.timers.push(setInterval(() => this.tend(), TEND_MS).unref(), setInterval(() => void this.heartbeat(), HEARTBEAT_MS).unref());
  }

  /** The server that has the tenant. @throws DomainError quota.store_away */
  of(tenantId: string): RedisNode {
    const node = this.slots[tenantKeys(tenantId).slot];
    if (!node) throw away('no server has the slot of this tenant');
    return node;
  }

  epochOf(tenantId: string): bigint | null {
    return this.slots[tenantKeys(tenantId).slot]?.epoch ?? null;
  }

  all(): readonly RedisNode[] {
    return [...this.nodes.values()];
  }

  /** Where the tenants of a node are listed by when a hold of theirs runs out. */
  indexOf(node: RedisNode): string | undefined {
    return this.indexes.get(node);
  }

  /** Tells of each server that may be asked (again), and whether it is another one than before. */
  onReady(listener: (node: RedisNode, isNew: boolean) => void): void {
    this.listeners.push(listener);
  }

  /** What keeps state from being used; empty when nothing does. */
  problems(): string[] {
    const known = this.all().flatMap((node) => (node.epoch === null ? [`${node.name}: ${node.problem ?? 'not connected'}`] : []));
    return this.options.target.cluster && this.slots.includes(undefined) ? [...known, 'not every slot has a server'] : known;
  }

  /** Waits until every server may be used. @throws Error naming what is wrong with a server, or that none answered */
  async ready(timeoutMs: number): Promise<void> {
    const until = performance.now() + timeoutMs;
    for (;;) {
      const problems = this.problems();
      if (problems.length === 0 && this.nodes.size > 0) return;
      const fatal = problems.find((problem) => /noeviction/.test(problem));
      if (fatal !== undefined) throw new Error(`REDIS_URL cannot be used: ${fatal}`);
      if (performance.now() > until) throw new Error(`REDIS_URL cannot be used: ${problems.join('; ')}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  close(): void {
    this.closed = true;
    for (const timer of this.timers) clearInterval(timer);
    for (const node of this.nodes.values()) node.close();
  }

  private open(name: string, target: ConstructorParameters<typeof RedisNode>[1], marker: string): RedisNode {
    const listener: NodeListener = {
      onReady: (node, isNew) => {
        for (const told of this.listeners) told(node, isNew);
      },
      onMoved: () => (this.options.target.cluster ? void this.refresh() : this.nodes.get(name)?.recheck()),
      report: this.options.report,
    };
    const node = new RedisNode(name, target, marker, this.options.registry, this.options.settings, listener);
    this.nodes.set(name, node);
    return node;
  }

  private tend(): void {
    for (const node of this.nodes.values()) node.tend();
    if (this.options.target.cluster && (this.slots.length === 0 || this.all().some((node) => node.epoch === null))) void this.refresh();
  }

  /** Another process may have met another server under a name first. */
  private async heartbeat(): Promise<void> {
    const epochs = await this.options.registry.epochs().catch(() => null);
    if (epochs === null) return;
    for (const node of this.nodes.values()) if (node.epoch !== null && epochs.get(node.name) !== node.epoch) node.recheck();
  }

  private async refresh(): Promise<void> {
    this.refreshing ??= this.readMap().finally(() => (this.refreshing = null));
    await this.refreshing;
  }

  private async readMap(): Promise<void> {
    const known = this.slots.length === 0 ? [] : this.all().map((node) => node.name);
    for (const address of [...known, ...this.options.target.urls.map(addressOf)]) {
      const ranges = await slotRanges(this.connectTo(address)).catch((error: unknown) => {
        this.options.report('the cluster does not tell who has which slot', error);
        return null;
      });
      if (ranges !== null && ranges.length > 0) return await this.takeMap(ranges);
      if (this.closed) return;
    }
  }

  private async takeMap(ranges: readonly SlotRange[]): Promise<void> {
    if (this.closed) return;
    const serving = new Set(ranges.map(({ host, port }) => `${host}:${port}`));
    const gone = [...this.nodes.keys()].filter((name) => !serving.has(name));
    for (const name of gone) {
      this.nodes.get(name)?.close();
      this.nodes.delete(name);
    }
    const slots: (RedisNode | undefined)[] = Array.from({ length: 16_384 }, () => undefined);
    // First forgotten, then claimed: a server that comes back under its name gets a new epoch.
    await this.options.registry.keepOnly([...serving]).catch((error: unknown) => this.options.report('nodes that left were not forgotten', error));
    for (const { from, to, host, port } of ranges) {
      const name = `${host}:${port}`;
      const node =
        this.nodes.get(name) ??
        this.open(
          name,
          this.optionsOf(name),
          markerKey((slot) => slot >= from && slot <= to),
        );
      slots.fill(node, from, to + 1);
    }
    this.slots = slots;
    this.indexes.clear();
    for (const node of this.nodes.values())
      this.indexes.set(
        node,
        indexKey((slot) => slots[slot] === node),
      );
  }

  private connectTo(address: string): Redis {
    return new Redis({ ...this.optionsOf(address), lazyConnect: true, retryStrategy: () => null, maxRetriesPerRequest: 0, connectTimeout: ASK_TIMEOUT_MS });
  }

  /** The first URL says how to log in; every node is asked the same way. */
  private optionsOf(address: string): { host: string; port: number; username?: string; password?: string; tls?: object } {
    const url = new URL(this.options.target.urls[0] ?? 'redis://127.0.0.1');
    const at = address.lastIndexOf(':');
    return {
      host: address.slice(0, at),
      port: Number(address.slice(at + 1)),
      ...(url.username === '' ? {} : { username: decodeURIComponent(url.username) }),
      ...(url.password === '' ? {} : { password: decodeURIComponent(url.password) }),
      ...(url.protocol === 'rediss:' ? { tls: {} } : {}),
    };
  }
}

function addressOf(url: string): string {
  const { hostname, port } = new URL(url);
  return `${hostname}:${port === '' ? '6379' : port}`;
}

async function slotRanges(redis: Redis): Promise<SlotRange[]> {
  redis.on('error', () => undefined);
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(away('no answer')), ASK_TIMEOUT_MS);
  });
  try {
    const asked = redis.connect().then(async () => (await redis.cluster('SLOTS')) as unknown as [number, number, [string, number]][]);
    const answer = await Promise.race([asked, late]);
    return answer.map(([from, to, [host, port]]) => ({ from, to, host: host === '' ? (redis.options.host ?? '127.0.0.1') : host, port }));
  } finally {
    clearTimeout(timer);
    redis.disconnect();
  }
}
