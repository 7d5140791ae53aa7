import type { z } from 'zod';
import { formatUsd } from '#libs/kernel/index.js';
import type { MonthlySpend } from '#libs/reporting/index.js';
import type { monthlySpendWire } from './reports.schemas.js';

export function toWire(row: MonthlySpend): z.infer<typeof monthlySpendWire> {
  return {
    month: row.month,
    tenant_id: row.tenantId,
    provider: row.provider,
    model: row.model,
    environment: row.environment,
    // Token totals stay below 2^53 for any month: 9e15 tokens are more than all providers serve.
    requests: Number(row.requests),
    input_tokens: Number(row.inputTokens),
    output_tokens: Number(row.outputTokens),
    cache_creation_tokens: Number(row.cacheCreationTokens),
    cache_read_tokens: Number(row.cacheReadTokens),
    cost_usd: formatUsd(row.costNano),
    charge_usd: formatUsd(row.chargeNano),
    reconciled_usd: null,
    delta_usd: null,
    status: 'open',
    revision: row.revision,
  };
}
