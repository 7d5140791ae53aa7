/**
 * What is answered while the quota state cannot be reached: by the tenant's `on_store_failure`. Guarantees: a balance, of the tenant or of
 * a key, that was known not to cover a call does not cover it now; `allow_capped` allows what was set aside before and no nano-dollar more;
 * and every call that passes unjudged is counted and leaves a row that stays open until an event of its call is booked.
 */
import { newUuid, type Clock, type Nano } from '#libs/kernel/index.js';
import type { Tenant } from '#libs/tenancy/index.js';
import type { Decision, Estimate } from '../domain/decision.js';
import type { CallFacts, Hold } from '../domain/hold.js';
import { balanceBudgetId, isKeyBalance } from '../domain/key-balance.js';
import type { HoldJournal } from './hold-journal.js';
import type { LocalSlices } from './local-slices.js';
import { callDigestOf } from './quota-service.js';
import type { ReserveResult } from './quota-store.js';
import { simple } from './tell-decision.js';

/** Marks the row of a call that passed unjudged. */
export const BYPASS = 'bypass';
const MAX_KNOWN = 50_000;

export class StoreAway {
  /** Balances, of tenants and of keys, that did not cover a call when it was last asked, and the smallest such call since one was covered. */
  private readonly knownNo = new Map<string, Nano>();
  /** Calls that passed unjudged. */
  bypasses = 0;

  constructor(
    private readonly journal: HoldJournal,
    private readonly slices: LocalSlices,
    private readonly clock: Clock,
  ) {}

  /** Hears each answer that the store gave about a call of that amount. */
  heard(tenantId: string, amountNano: Nano, result: ReserveResult): void {
    if (result.kind === 'held' && this.knownNo.size > 0) {
      for (const balance of balancesOf(tenantId, result.hold.facts)) {
        const known = this.knownNo.get(balance);
        if (known !== undefined && result.hold.amountNano >= known) this.knownNo.delete(balance);
      }
    }
    if (result.kind !== 'refused' || result.refusal.code === 'in_flight_exhausted') return;
    const { code, claim } = result.refusal;
    const balance = claim === null ? walletOf(tenantId) : isKeyBalance(claim.budgetId) ? balanceOf(tenantId, claim.budgetId) : null;
    if (balance === null) return;
    const refusedNano = code === 'insufficient_funds' ? 1n : amountNano;
    const known = this.knownNo.get(balance);
    if (known !== undefined && known <= refusedNano) return;
    if (this.knownNo.size >= MAX_KNOWN) this.knownNo.clear();
    this.knownNo.set(balance, refusedNano);
  }

  /** The decision without the state. @param facts what the caller said about the call */
  decide(tenant: Tenant, estimate: Estimate, facts: CallFacts): Decision {
    const shadow = tenant.enforcement === 'shadow';
    const allowed = this.allows(tenant, estimate.costNano, facts);
    if (allowed && !shadow) this.remember(tenant, estimate.costNano, facts);
    return {
      ...simple(shadow || allowed ? 'allow' : 'block', 'store_unavailable'),
      estimate,
      shadow,
      would: shadow && !allowed ? 'block' : null,
      degraded: true,
    };
  }

  private allows(tenant: Tenant, amountNano: Nano, facts: CallFacts): boolean {
    for (const balance of balancesOf(tenant.tenantId, facts)) {
      const no = this.knownNo.get(balance);
      if (no !== undefined && amountNano >= no) return false;
    }
    if (tenant.onStoreFailure === 'allow_capped') return this.slices.draw(tenant.tenantId, amountNano);
    return tenant.onStoreFailure === 'allow';
  }

  private remember({ tenantId }: Tenant, amountNano: Nano, facts: CallFacts): void {
    this.bypasses += 1;
    const now = this.clock.now();
    const hold: Hold = {
      holdId: newUuid(now),
      tenantId,
      kind: 'call',
      state: 'unresolved',
      resolution: BYPASS,
      amountNano,
      capturedNano: 0n,
      capturedTokens: 0n,
      capturedRequests: 0n,
      claims: [],
      callDigest: facts.callId === null ? null : callDigestOf(tenantId, facts.callId),
      bodyHash: null,
      policy: 'release',
      createdAtMs: now.getTime(),
      expiresAtMs: now.getTime(),
      resolvedAtMs: now.getTime(),
      facts,
    };
    this.journal.note(hold);
  }
}

function walletOf(tenantId: string): string {
  return balanceOf(tenantId, '');
}

function balanceOf(tenantId: string, budgetId: string): string {
  return `${tenantId}\0${budgetId}`;
}

/** What a call has to be covered by, as far as it is known by balances. */
function balancesOf(tenantId: string, facts: CallFacts | null): string[] {
  const apiKeyId = facts?.apiKeyId ?? null;
  return apiKeyId === null ? [walletOf(tenantId)] : [walletOf(tenantId), balanceOf(tenantId, balanceBudgetId(apiKeyId))];
}
