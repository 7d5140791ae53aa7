import type { Nano } from '#libs/kernel/index.js';

/** One row of Report A: a tenant's spend of one UTC service month on one provider, model and environment. */
export interface MonthlySpend {
  /** "2026-11" */
  readonly month: string;
  readonly tenantId: string;
  readonly provider: string;
  readonly model: string;
  readonly environment: string;
  readonly requests: bigint;
  readonly inputTokens: bigint;
  readonly outputTokens: bigint;
  /** 5 minutes + 1 hour */
  readonly cacheCreationTokens: bigint;
  readonly cacheReadTokens: bigint;
  readonly costNano: Nano;
  readonly chargeNano: Nano;
  readonly revision: number;
}

/** The row after which a page starts: the ordering values of the list. */
export interface MonthlySpendPosition {
  readonly chargeNano: Nano;
  readonly tenantId: string;
  readonly provider: string;
  readonly model: string;
  readonly environment: string;
}

export interface MonthlySpendQuery {
  /** "2026-11" */
  readonly month: string;
  readonly tenantId: string | undefined;
  readonly environment: string | undefined;
  readonly limit: number;
  readonly after: MonthlySpendPosition | null;
}

export abstract class MonthlySpendReport {
  /** Dearest first by charge, then by tenant, provider, model, environment. */
  abstract list(query: MonthlySpendQuery): Promise<MonthlySpend[]>;
}
