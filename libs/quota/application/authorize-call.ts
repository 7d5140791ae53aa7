/**
 * The decision before a call: who asks, what it may cost, whether the wallet covers it, and the hold that keeps it. Each rule of the
 * contract's table "what happens when something is not set up" is one early return here.
 */
import { digest128Hex, DomainError, newUuid, type Clock, type Nano } from '#libs/kernel/index.js';
import { UNKNOWN_TENANT_ID, type Tenant, type TenantDirectory } from '#libs/tenancy/index.js';
import { reasonOf, type Decision, type Estimate, type ReasonCode, type WalletLimit } from '../domain/decision.js';
import type { CallFacts, Hold, UnresolvedPolicy } from '../domain/hold.js';
import { availableOf, remainingOf, type WalletRule } from '../domain/wallet.js';
import type { AuthorizeInput } from './authorize-input.js';
import type { EstimateCall, EstimateOutcome } from './estimate-call.js';
import type { DecisionLog } from './decision-log.js';
import type { ReserveResult, WalletView } from './quota-store.js';
import { callDigestOf, type QuotaService } from './quota-service.js';

export interface QuotaSettings {
  /** How long a hold lives without news of its call. */
  readonly holdTtlMs: number;
  readonly onMissingTenant: 'allow' | 'block';
  /** What an enforcing tenant is told about a model without a price; an amount is held for the call. */
  readonly onUnpriced: 'block' | 'allow' | Nano;
}

export class AuthorizeCall {
  constructor(
    private readonly quota: QuotaService,
    private readonly tenants: TenantDirectory,
    private readonly estimate: EstimateCall,
    private readonly log: DecisionLog,
    private readonly clock: Clock,
    private readonly settings: QuotaSettings,
  ) {}

  /** @throws DomainError quota.call_already_settled, quota.call_conflict (409) for a call id that was used before */
  async execute(input: AuthorizeInput): Promise<Decision> {
    const now = this.clock.now();
    const decision = await this.decide(input, now);
    this.log.note(input, decision, now);
    return decision;
  }

  private async decide(input: AuthorizeInput, now: Date): Promise<Decision> {
    if (input.tenantId === null || input.tenantId === UNKNOWN_TENANT_ID) return simple(this.settings.onMissingTenant, 'tenant_missing');
    const tenant = (await this.tenants.find(input.tenantId)) ?? (await this.setUp(input.tenantId, input.maySetUpTenants));
    if (tenant === null) return simple('block', 'tenant_unknown');
    if (tenant.status === 'suspended') return simple('block', 'tenant_suspended');
    if (tenant.enforcement === 'off') return simple('allow', 'ok');
    const estimated = await this.estimate.execute(input, tenant, now);
    if (estimated.ok) return await this.reserve(input, tenant, estimated, now);
    return typeof this.settings.onUnpriced === 'bigint' && tenant.enforcement === 'enforce'
      ? await this.reserve(
          input,
          tenant,
          { ok: true, provider: null, model: null, estimate: { ...estimated.estimate, costNano: this.settings.onUnpriced } },
          now,
        )
      : this.unpriced(tenant);
  }

  private async setUp(tenantId: string, may: () => Promise<boolean>): Promise<Tenant | null> {
    if (!(await may())) return null;
    await this.tenants.createFromEvents([tenantId]);
    return await this.tenants.find(tenantId);
  }

  private unpriced(tenant: Tenant): Decision {
    const shadow = tenant.enforcement === 'shadow';
    const blocks = this.settings.onUnpriced === 'block';
    return { ...simple(blocks && !shadow ? 'block' : 'allow', 'model_unpriced'), shadow, would: blocks && shadow ? 'block' : null };
  }

  private async reserve(input: AuthorizeInput, tenant: Tenant, estimated: Extract<EstimateOutcome, { ok: true }>, now: Date): Promise<Decision> {
    const rule = walletRule(tenant);
    const enforce = tenant.enforcement === 'enforce';
    try {
      const result = await this.quota.reserve({
        tenantId: tenant.tenantId,
        holdId: newUuid(now),
        amountNano: estimated.estimate.costNano,
        nowMs: now.getTime(),
        ttlMs: this.settings.holdTtlMs,
        callDigest: input.callId === null ? null : callDigestOf(tenant.tenantId, input.callId),
        bodyHash: input.callId === null ? null : bodyHashOf(input),
        policy: tenant.unresolvedPolicy ?? defaultPolicy(input.inPath),
        facts: factsOf(input, estimated),
        rule,
        enforce,
        strict: tenant.holdDurability === 'strict',
      });
      return toDecision(result, estimated.estimate, rule, enforce);
    } catch (error) {
      if (!(error instanceof DomainError) || error.kind !== 'unavailable') throw error;
      return degraded(tenant, estimated.estimate);
    }
  }
}

/** Postpaid tenants without a credit limit are limited by nothing: they pay afterwards. */
export function walletRule(tenant: Pick<Tenant, 'billing' | 'creditLimitNano'>): WalletRule {
  return { creditLimitNano: tenant.billing === 'postpaid' && tenant.creditLimitNano === 0n ? null : tenant.creditLimitNano };
}

function defaultPolicy(inPath: boolean): UnresolvedPolicy {
  return inPath ? 'charge_input' : 'release';
}

function simple(verdict: Decision['verdict'], code: ReasonCode): Decision {
  return { verdict, reason: reasonOf(code), hold: null, estimate: null, wallet: null, shadow: false, would: null, degraded: false, replayed: false };
}

/** The state is out of reach. `allow_capped` has used up what was committed ahead when it gets here, so it blocks too. */
function degraded(tenant: Tenant, estimate: Estimate): Decision {
  const shadow = tenant.enforcement === 'shadow';
  const allowed = tenant.onStoreFailure === 'allow';
  return {
    ...simple(shadow || allowed ? 'allow' : 'block', 'store_unavailable'),
    estimate,
    shadow,
    would: shadow && !allowed ? 'block' : null,
    degraded: true,
  };
}

function toDecision(result: ReserveResult, estimate: Estimate, rule: WalletRule, enforce: boolean): Decision {
  switch (result.kind) {
    case 'held':
      return allow(result.hold, result.wallet, estimate, rule, enforce, false, result.refused);
    case 'replayed':
      return allow(result.hold, result.wallet, estimate, rule, enforce, true, null);
    case 'refused':
      return { ...simple('block', result.code), estimate, wallet: limitOf(result.wallet, rule, enforce, true) };
    case 'already_resolved':
      throw new DomainError({
        code: 'quota.call_already_settled',
        kind: 'conflict',
        publicMessage: 'the hold of this call_id has ended; a new call needs a new call_id',
      });
    case 'other_body':
      throw new DomainError({ code: 'quota.call_conflict', kind: 'conflict', publicMessage: 'this call_id was authorized with another body' });
    case 'unknown':
    case 'above_ceiling':
      throw new DomainError({ code: 'quota.store_unavailable', kind: 'unavailable', publicMessage: 'the quota state cannot be reached', retryAfterMs: 1_000 });
  }
}

function allow(
  hold: Hold,
  wallet: WalletView,
  estimate: Estimate,
  rule: WalletRule,
  enforce: boolean,
  replayed: boolean,
  refused: ReasonCode | null,
): Decision {
  return {
    verdict: 'allow',
    reason: reasonOf(refused ?? 'ok'),
    hold,
    estimate,
    wallet: limitOf(wallet, rule, enforce, refused !== null),
    shadow: !enforce,
    would: refused === null ? null : 'block',
    degraded: false,
    replayed,
  };
}

function limitOf(wallet: WalletView, rule: WalletRule, enforced: boolean, binding: boolean): WalletLimit {
  const limitNano = remainingOf(wallet, rule);
  return {
    limitNano,
    usedNano: wallet.postedNano < 0n ? -wallet.postedNano : 0n,
    heldNano: wallet.heldNano,
    remainingNano: availableOf(wallet, rule),
    enforced,
    binding,
  };
}

function factsOf(input: AuthorizeInput, { estimate, provider, model }: Extract<EstimateOutcome, { ok: true }>): CallFacts {
  return {
    callId: input.callId,
    provider: provider ?? input.provider,
    model: model ?? input.model,
    requestedModel: input.model,
    inputTokens: estimate.inputTokens,
    maxOutputTokens: estimate.maxOutputTokens,
    userId: input.userId,
    feature: input.feature,
    environment: input.environment ?? 'prod',
    assistantId: input.assistantId,
    threadId: input.threadId,
    apiKeyId: input.apiKeyId,
    requestId: input.requestId,
    priceVersion: estimate.priceVersion,
  };
}

/** What makes two requests of one call id the same request. No id contains the separator, and none is empty. */
function bodyHashOf(input: AuthorizeInput): string {
  const ids = `${input.tenantId ?? ''}\n${input.provider ?? ''}\n${input.model ?? ''}\n${input.userId ?? ''}\n${input.feature ?? ''}\n${input.environment ?? ''}`;
  const origin = `${input.assistantId ?? ''}\n${input.threadId ?? ''}\n${input.apiKeyId ?? ''}\n${input.requestId ?? ''}`;
  return digest128Hex(ids, origin, `${input.inputTokens ?? ''}\n${input.maxOutputTokens ?? ''}\n${input.estimatedCostNano ?? ''}`);
}
