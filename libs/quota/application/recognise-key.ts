/**
 * Whose key a call comes with, and what follows: the key's tenant, its id for limits, what it says about the call (that beats what the
 * caller says), the models it may call and whether `critical` counts. An id that is none of ours is only a name and binds nothing.
 */
import { toWireId } from '#libs/kernel/index.js';
import type { ApiKey, ApiKeyDirectory } from '#libs/tenancy/index.js';
import { balanceBudgetId } from '../domain/key-balance.js';
import type { AuthorizeInput } from './authorize-input.js';

export interface KeyTerms {
  /** Patterns; null: every model. */
  readonly models: readonly string[] | null;
  /** The budget of the key's own balance; null where it has none. */
  readonly balanceId: string | null;
}

export type Recognised = { readonly ok: true; readonly input: AuthorizeInput; readonly terms: KeyTerms } | { readonly ok: false };

/** Of a call without a key of ours. */
export const NO_TERMS: KeyTerms = { models: null, balanceId: null };

export class RecogniseKey {
  constructor(private readonly keys: ApiKeyDirectory) {}

  /** Not ok: a key that does not exist, has ended or belongs to another tenant than the one that was named. @throws DomainError storage.unavailable */
  async execute(input: AuthorizeInput): Promise<Recognised> {
    if (input.apiKey !== null) {
      const key = await this.keys.findByText(input.apiKey);
      if (key === null || (input.tenantId !== null && input.tenantId !== key.tenantId)) return { ok: false };
      return withKey(input, key);
    }
    const found = input.apiKeyId === null || input.tenantId === null ? null : await this.keys.findById(input.apiKeyId);
    if (found === null || found.key.tenantId !== input.tenantId)
      return { ok: true, input: input.critical ? { ...input, critical: false } : input, terms: NO_TERMS };
    return found.live ? withKey(input, found.key) : { ok: false };
  }
}

function withKey(input: AuthorizeInput, key: ApiKey): Recognised {
  const apiKeyId = toWireId('ak', key.apiKeyId);
  return {
    ok: true,
    input: {
      ...input,
      tenantId: key.tenantId,
      apiKeyId,
      assistantId: key.assistantId ?? input.assistantId,
      environment: key.environment ?? input.environment,
      critical: input.critical && key.allowCritical,
    },
    terms: { models: key.models, balanceId: key.prepaid ? balanceBudgetId(apiKeyId) : null },
  };
}
