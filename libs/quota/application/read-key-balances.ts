/** What keys with a balance of their own were granted, have used and hold at this moment. */
import type { Nano } from '#libs/kernel/index.js';
import { balanceBudgetId } from '../domain/key-balance.js';
import type { ReadLimits } from './read-limits.js';

export interface KeyBalance {
  readonly grantedNano: Nano;
  readonly usedNano: Nano;
  /** Null while the quota state cannot be reached. */
  readonly heldNano: Nano | null;
}

export class ReadKeyBalances {
  constructor(private readonly limits: ReadLimits) {}

  /** By key; a key whose balance was never opened is absent. @throws DomainError storage.unavailable */
  async execute(input: { readonly tenantId: string; /** On the wire. */ readonly apiKeyIds: readonly string[] }): Promise<ReadonlyMap<string, KeyBalance>> {
    if (input.apiKeyIds.length === 0) return new Map();
    const lines = await this.limits.ofBudgets(input.tenantId, new Set(input.apiKeyIds.map(balanceBudgetId)));
    return new Map(
      input.apiKeyIds.flatMap((apiKeyId) => {
        const line = lines.get(balanceBudgetId(apiKeyId));
        return line === undefined ? [] : [[apiKeyId, { grantedNano: line.claim.limit, usedNano: line.used, heldNano: line.held }]];
      }),
    );
  }
}
