import type { Nano } from '#libs/kernel/index.js';
import type { SpendMovement } from '#libs/metering/index.js';

/** The sum of some movements of one tenant, month, provider, model and environment. */
export interface MonthTotals {
  readonly tenantId: string;
  readonly month: string;
  readonly provider: string;
  readonly model: string;
  readonly environment: string;
  requests: bigint;
  inputTokens: bigint;
  outputTokens: bigint;
  cacheCreationTokens: bigint;
  cacheReadTokens: bigint;
  costNano: Nano;
  chargeNano: Nano;
}

/**
 * Adds one movement to its row of `totals`. `requests` counts calls that reached a provider: what a hook blocked is not one.
 * @param month the UTC service month, "2026-11"
 */
export function addMovement(totals: Map<string, MonthTotals>, movement: SpendMovement, month: string): void {
  const key = JSON.stringify([movement.tenantId, month, movement.provider, movement.model, movement.environment]);
  const row = totals.get(key) ?? emptyTotals(movement, month);
  totals.set(key, row);
  const sign = BigInt(movement.sign);
  const usage = movement.usage ?? {};
  if (movement.status !== 'blocked') row.requests += sign;
  row.inputTokens += sign * BigInt(usage.input_tokens ?? 0);
  row.outputTokens += sign * BigInt(usage.output_tokens ?? 0);
  row.cacheCreationTokens += sign * BigInt((usage.cache_creation_tokens ?? 0) + (usage.cache_creation_1h_tokens ?? 0));
  row.cacheReadTokens += sign * BigInt(usage.cache_read_tokens ?? 0);
  row.costNano += sign * movement.costNano;
  row.chargeNano += sign * movement.chargeNano;
}

function emptyTotals(movement: SpendMovement, month: string): MonthTotals {
  return {
    tenantId: movement.tenantId,
    month,
    provider: movement.provider,
    model: movement.model,
    environment: movement.environment,
    requests: 0n,
    inputTokens: 0n,
    outputTokens: 0n,
    cacheCreationTokens: 0n,
    cacheReadTokens: 0n,
    costNano: 0n,
    chargeNano: 0n,
  };
}
