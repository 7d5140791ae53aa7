import type { PriceBook } from '#libs/pricing/index.js';
import { UNKNOWN_TENANT_ID, type Tenant } from '#libs/tenancy/index.js';
import type { Estimate } from '../domain/decision.js';
import type { AuthorizeInput } from './authorize-input.js';
import type { OutputSizes } from './output-sizes.js';

/** What a call answers at most when nobody said and nothing was learned. */
const DEFAULT_OUTPUT_TOKENS = 4_096;
/** What a call asks when nobody said. */
const DEFAULT_INPUT_TOKENS = 1_024;

export type EstimateOutcome =
  | { readonly ok: true; readonly estimate: Estimate; readonly provider: string | null; readonly model: string | null }
  /** `estimate`: what is known of the call all the same; its cost is zero. */
  | { readonly ok: false; readonly reason: 'model_unpriced'; readonly estimate: Estimate };

export type EstimateInput = Pick<AuthorizeInput, 'provider' | 'model' | 'feature' | 'sourceId' | 'inputTokens' | 'maxOutputTokens' | 'estimatedCostNano'>;
export type EstimatedTenant = Pick<Tenant, 'tenantId' | 'rateCardId'>;

/**
 * What the tenant would be charged at most for a call, by the same rating that books it: a given cost, else tokens at their price, with
 * the output given, learned (p99 of this tenant, feature and model) or 4,096. An alias of several deployments is held at the dearest.
 */
export class EstimateCall {
  constructor(
    private readonly priceBook: PriceBook,
    private readonly outputs: OutputSizes,
  ) {}

  async execute(input: EstimateInput, tenant: EstimatedTenant, at: Date): Promise<EstimateOutcome> {
    const learned = input.maxOutputTokens === null ? await this.outputs.learned(tenant.tenantId, input.feature, input.model) : null;
    const maxOutputTokens = input.maxOutputTokens ?? learned ?? DEFAULT_OUTPUT_TOKENS;
    const inputTokens = input.inputTokens ?? DEFAULT_INPUT_TOKENS;
    const tokens = { inputTokens, maxOutputTokens };
    const rating = this.priceBook.rate({
      provider: input.provider,
      model: input.model,
      requestedModel: input.model,
      sourceId: input.sourceId,
      usage: { input_tokens: inputTokens, output_tokens: maxOutputTokens },
      at,
      rateCardId: tenant.rateCardId,
      free: tenant.tenantId === UNKNOWN_TENANT_ID,
      reportedCostNano: null,
    });
    const names = rating.ok ? { provider: rating.provider, model: rating.model } : { provider: null, model: null };
    if (input.estimatedCostNano !== null) {
      return {
        ok: true,
        estimate: { costNano: input.estimatedCostNano, basis: 'given', priceVersion: rating.ok ? rating.priceVersion : null, ...tokens },
        ...names,
      };
    }
    if (!rating.ok) return { ok: false, reason: 'model_unpriced', estimate: { costNano: 0n, basis: 'default', priceVersion: null, ...tokens } };
    const given = input.maxOutputTokens !== null && input.inputTokens !== null;
    return {
      ok: true,
      estimate: {
        costNano: rating.chargeNano,
        basis: given ? 'given' : learned === null ? 'default' : 'learned',
        priceVersion: rating.priceVersion,
        ...tokens,
      },
      ...names,
    };
  }
}
