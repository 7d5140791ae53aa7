/**
 * What is answered while the quota state cannot be reached: by the tenant's `on_store_failure`. Guarantees: a balance that was known not to
 * cover a call does not cover it now; `allow_capped` allows what was set aside before and no nano-dollar more; and every call that passes
 * unjudged is counted and leaves a row that stays open until an event of its call is booked.
 */
import { newUuid, type Clock, type Nano } from '#libs/kernel/index.js';
import type { Tenant } from '#libs/tenancy/index.js';
import type { Decision, Estimate } from '../domain/decision.js';
import type { CallFacts, Hold } from '../domain/hold.js';
import type { HoldJournal } from './hold-journal.js';
import type { LocalSlices } from './local-slices.js';
import { callDigestOf } from './quota-service.js';
import type { ReserveResult } from './quota-store.js';
import { simple } from './tell-decision.js';

/** Marks the row of a call that passed unjudged. */
export const BYPASS = 'bypass';
const MAX_KNOWN = 50_000;

export class StoreAway {
  /** Tenants whose balance did not cover a call when it was last asked, and the smallest such call since one was covered. */
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
    if (result.kind === 'held') {
      const known = this.knownNo.get(tenantId);
      if (known !== undefined && result.hold.amountNano >= known) this.knownNo.delete(tenantId);
    }
    if (result.kind !== 'refused' || result.refusal.claim !== null || result.refusal.code === 'in_flight_exhausted') return;
    const refusedNano = result.refusal.code === 'insufficient_funds' ? 1n : amountNano;
    const known = this.knownNo.get(tenantId);
    if (known !== undefined && known <= refusedNano) return;
    if (this.knownNo.size >= MAX_KNOWN) this.knownNo.clear();
    this.knownNo.set(tenantId, refusedNano);
  }

  /** The decision without the state. @param facts what the caller said about the call */
  decide(tenant: Tenant, estimate: Estimate, facts: CallFacts): Decision {
    const shadow = tenant.enforcement === 'shadow';
    const allowed = this.allows(tenant, estimate.costNano);
    if (allowed && !shadow) this.remember(tenant, estimate.costNano, facts);
    return {
      ...simple(shadow || allowed ? 'allow' : 'block', 'store_unavailable'),
      estimate,
      shadow,
      would: shadow && !allowed ? 'block' : null,
      degraded: true,
    };
  }

  private allows(tenant: Tenant, amountNano: Nano): boolean {
    const no = this.knownNo.get(tenant.tenantId);
    if (no !== undefined && amountNano >= no) return false;
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
