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
  // U+0000 is in no text that PostgreSQL stores.
  const key = `${movement.tenantId}\u0000${month}\u0000${movement.provider}\u0000${movement.model}\u0000${movement.environment}`;
  let row = totals.get(key);
  if (row === undefined) totals.set(key, (row = emptyTotals(movement, month)));
  const { sign, usage } = movement;
  if (movement.status !== 'blocked') row.requests += BigInt(sign);
  row.costNano += signed(sign, movement.costNano);
  row.chargeNano += signed(sign, movement.chargeNano);
  if (usage === null) return;
  row.inputTokens += signed(sign, BigInt(usage.input_tokens ?? 0));
  row.outputTokens += signed(sign, BigInt(usage.output_tokens ?? 0));
  row.cacheCreationTokens += signed(sign, BigInt(usage.cache_creation_tokens ?? 0) + BigInt(usage.cache_creation_1h_tokens ?? 0));
  row.cacheReadTokens += signed(sign, BigInt(usage.cache_read_tokens ?? 0));
}

function signed(sign: 1 | -1, figure: bigint): bigint {
  return sign === 1 ? figure : -figure;
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
