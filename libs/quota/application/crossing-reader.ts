import type { Scope } from '../domain/budget.js';

/**
 * A counter passed a threshold: once per counter, period, metric and threshold, whatever restarts; of a rolling window once per window length
 * and hour.
 */
export interface Crossing {
  /** UUIDv7 of when it was noted; two that are noted at once have no order. */
  readonly crossingId: string;
  readonly tenantId: string;
  readonly budgetId: string;
  readonly version: number;
  /** Of `per`; empty where the budget has one counter. */
  readonly values: Scope;
  readonly metric: 'usd' | 'tokens' | 'requests';
  readonly percent: number;
  readonly action: 'notify' | 'downgrade' | 'block';
  /** nano-USD, tokens or requests. */
  readonly limit: bigint;
  readonly used: bigint;
  /** Of a rolling window: where it began when it was crossed. */
  readonly periodStartsAt: Date;
  /** Null: the period never ends, or is a rolling window. */
  readonly periodEndsAt: Date | null;
  readonly crossedAt: Date;
}

export abstract class CrossingReader {
  /** Oldest first, after the crossing `after`. */
  abstract list(filter: { tenantId?: string | undefined; after?: string | undefined; limit: number }): Promise<Crossing[]>;
}
