/** What PostgreSQL would know of tenants whose stores are given random commands, and what such a command is. */
import type { QuotaStore, TenantSnapshot } from '../../libs/quota/application/quota-store.js';
import type { Hold } from '../../libs/quota/domain/hold.js';
import type { LeaseGrant } from '../../libs/quota/domain/lease.js';
import { bucketStart, type Claim, type CounterDelta, type Window } from '../../libs/quota/domain/limit.js';

/** Beyond where Lua prints an exponent, and few enough fit into 9e15 that sums stay within it. */
export const HUGE = 1_000_000_000_000_001n;
export const START_MS = Date.UTC(2026, 10, 22, 12);
export const DAY_MS = 86_400_000;
export const TTL_MS = 15 * 60_000;

export interface CounterKind {
  readonly counter: string;
  readonly metric: Claim['metric'];
  readonly window: Window;
}

export const COUNTERS: readonly CounterKind[] = [
  { counter: 'month usd', metric: 'usd', window: { kind: 'fixed', endsAtMs: START_MS + 8 * DAY_MS } },
  { counter: 'hour:usd}', metric: 'usd', window: { kind: 'fixed', endsAtMs: START_MS + 3_600_000 } },
  { counter: '{total}', metric: 'usd', window: { kind: 'fixed', endsAtMs: null } },
  { counter: 'minute requests', metric: 'requests', window: { kind: 'rolling', bucketMs: 1_000 } },
  { counter: 'hour tokens', metric: 'tokens', window: { kind: 'rolling', bucketMs: 60_000 } },
  { counter: 'ten minutes usd', metric: 'usd', window: { kind: 'rolling', bucketMs: 10_000 } },
  { counter: 'running', metric: 'concurrent', window: { kind: 'concurrent', ttlMs: 120_000 } },
  { counter: 'running of a user', metric: 'concurrent', window: { kind: 'concurrent', ttlMs: 120_000 } },
];

export const claimOn = (kind: CounterKind, more: Partial<Claim>): Claim => ({
  ...kind,
  budgetId: kind.counter,
  kind: 'budget',
  rate: false,
  limit: more.blockAt ?? 0n,
  amount: 1n,
  downgradeAt: null,
  blockAt: null,
  enforced: true,
  silent: false,
  ...more,
});

/** What PostgreSQL would know of one tenant. */
export class TenantTruth {
  seq = 0n;
  posted = 0n;
  bookedSeq = 0n;
  ceiling = 0n;
  promised = 0n;
  rules = 3;
  fencedUntilMs = 0;
  readonly holdIds: string[] = [];
  /** Open holds as rows: as they were when a store last knew the tenant. */
  rows: readonly Hold[] = [];
  /** Grants as rows: as they were told or lowered last. */
  readonly leases = new Map<string, LeaseGrant>();
  leaseVersion = 10n;
  private readonly used = new Map<string, CounterDelta>();

  constructor(readonly tenantId: string) {}

  use(delta: CounterDelta): void {
    const start = delta.window.kind === 'rolling' ? bucketStart(delta.atMs, delta.window.bucketMs) : 0;
    const key = `${delta.counter} ${start}`;
    this.used.set(key, { ...delta, amount: delta.amount + (this.used.get(key)?.amount ?? 0n) });
  }

  snapshot(): TenantSnapshot {
    return {
      tenantId: this.tenantId,
      seq: this.seq,
      postedNano: this.posted,
      holds: this.rows,
      recentCalls: [],
      promisedNano: this.promised,
      ceilingNano: this.ceiling,
      bookedSeq: this.bookedSeq,
      rulesRevision: this.rules,
      counters: [...this.used.values()],
      fencedUntilMs: this.fencedUntilMs,
      leases: { grants: [...this.leases.values()], from: this.leaseVersion },
    };
  }
}

export class Truth {
  nowMs = START_MS;
  private ids = 0;
  readonly tenants: readonly TenantTruth[];

  constructor(run: string) {
    this.tenants = [new TenantTruth(`}x${run}`), new TenantTruth(`a:b${run}`)];
  }

  tenant(pick: number): TenantTruth {
    return this.tenants[pick % this.tenants.length] as TenantTruth;
  }

  newHoldId(tenant: TenantTruth): string {
    this.ids += 1;
    const holdId = `hold-${this.ids}`;
    tenant.holdIds.push(holdId);
    return holdId;
  }
}

/** Prepared once from the truth, run on every store, answered by each. */
export interface Command {
  readonly name: string;
  /** Whom it is about; absent: everybody. */
  readonly tenant?: number;
  readonly prepare: (truth: Truth) => (store: QuotaStore, crash: () => Promise<void>) => Promise<unknown>;
}
