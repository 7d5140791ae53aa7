/**
 * The decision before a call: who asks, what it may cost, whether wallet and limits cover it, and the hold that keeps it. Each rule of the
 * contract's table "what happens when something is not set up" is one early return here.
 */
import { digest128Hex, DomainError, newUuid, type Clock, type Nano } from '#libs/kernel/index.js';
import { UNKNOWN_TENANT_ID, type Tenant, type TenantDirectory } from '#libs/tenancy/index.js';
import { KEY_FUNDS_MESSAGE, reasonOf, type Decision, type Reason } from '../domain/decision.js';
import type { UnresolvedPolicy } from '../domain/hold.js';
import type { WalletRule } from '../domain/wallet.js';
import { askStore } from './ask-store.js';
import type { AuthorizeInput } from './authorize-input.js';
import type { EstimateCall } from './estimate-call.js';
import type { DecisionLog } from './decision-log.js';
import type { LocalSlices } from './local-slices.js';
import { factsOf, mayCall, type Options, type PlanCandidates, type PlanInput } from './plan-candidates.js';
import type { ReserveResult } from './quota-store.js';
import { callDigestOf, type QuotaService } from './quota-service.js';
import type { KeyTerms, RecogniseKey } from './recognise-key.js';
import type { RuleBook } from './rule-book.js';
import type { StoreAway } from './store-away.js';
import { simple, toDecision } from './tell-decision.js';

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
    private readonly plans: PlanCandidates,
    private readonly rules: RuleBook,
    private readonly keys: RecogniseKey,
    private readonly away: StoreAway,
    private readonly slices: LocalSlices,
    private readonly log: DecisionLog,
    private readonly clock: Clock,
    private readonly settings: QuotaSettings,
  ) {}

  /** @throws DomainError quota.call_already_settled, quota.call_conflict (409) for a call id that was used before */
  async execute(input: AuthorizeInput): Promise<Decision> {
    const now = this.clock.now();
    const recognised = await this.keys.execute(input);
    const decision = recognised.ok ? await this.decide(recognised.input, recognised.terms, now) : simple('block', 'key_revoked');
    this.log.note(recognised.ok ? recognised.input : input, decision, now);
    return decision;
  }

  private async decide(input: AuthorizeInput, terms: KeyTerms, now: Date): Promise<Decision> {
    if (input.tenantId === null || input.tenantId === UNKNOWN_TENANT_ID) return simple(this.settings.onMissingTenant, 'tenant_missing');
    const tenant = (await this.tenants.find(input.tenantId)) ?? (await this.setUp(input.tenantId, input.maySetUpTenants));
    if (tenant === null) return simple('block', 'tenant_unknown');
    if (tenant.status === 'suspended') return simple('block', 'tenant_suspended');
    if (tenant.enforcement === 'off') return { ...simple('allow', 'ok'), model: input.model };
    const allowed = mayCall(terms.models, input.model);
    if (!allowed && tenant.enforcement === 'enforce') return simple('block', 'model_not_allowed');
    const decision = await this.price(input, tenant, terms, now);
    return allowed ? decision : { ...decision, reason: reasonOf('model_not_allowed'), would: 'block' };
  }

  private async price(input: AuthorizeInput, tenant: Tenant, terms: KeyTerms, now: Date): Promise<Decision> {
    const estimated = await this.estimate.execute(input, tenant, now);
    if (estimated.ok) return await this.ask({ input, tenant, estimated, now, terms });
    if (typeof this.settings.onUnpriced !== 'bigint' || tenant.enforcement !== 'enforce') return this.unpriced(tenant);
    const held = { ...estimated.estimate, costNano: this.settings.onUnpriced };
    return await this.ask({ input, tenant, estimated: { ok: true, provider: null, model: null, estimate: held }, now, terms });
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

  private async ask(asked: Asked): Promise<Decision> {
    const { input, tenant, estimated, now, terms } = asked;
    try {
      // Rules that changed between the look at them and the answer are looked at again.
      for (let tries = 1; ; tries += 1) {
        const rules = await this.rules.find(tenant.tenantId);
        const isOpen = terms.balanceId === null || tenant.enforcement !== 'enforce' || rules.set.hasBalance(terms.balanceId);
        const decision = isOpen ? await this.askOnce({ input, tenant, rules, estimated, now, terms }) : 'stale_rules';
        if (decision !== 'stale_rules') return decision;
        // Its balance was never opened: a key that was to be limited must not pass without a limit.
        if (!isOpen && tries > 1) return { ...simple('block', 'insufficient_funds'), reason: NO_KEY_FUNDS };
        if (tries === MAX_TRIES) throw new DomainError({ code: 'quota.store_unavailable', kind: 'unavailable', publicMessage: 'the limits change too fast' });
        await this.rules.refresh();
      }
    } catch (error) {
      if (!(error instanceof DomainError) || error.kind !== 'unavailable') throw error;
      return this.away.decide(tenant, estimated.estimate, factsOf(input, input.model, estimated));
    }
  }

  private async askOnce(plan: PlanInput): Promise<Decision | 'stale_rules'> {
    const { result, options } = await askStore(this.plans, plan, async (offered) => await this.reserve(plan, offered));
    if (result.kind === 'stale_rules') return 'stale_rules';
    return toDecision(result, { options, rule: walletRule(plan.tenant), enforce: plan.tenant.enforcement === 'enforce' });
  }

  private async reserve({ input, tenant, rules, now }: PlanInput, [first, ...others]: Options): Promise<ReserveResult> {
    const result = await this.quota.reserve({
      tenantId: tenant.tenantId,
      holdId: newUuid(now),
      candidates: [first.candidate, ...others.map(({ candidate }) => candidate)],
      rulesRevision: rules.revision,
      nowMs: now.getTime(),
      ttlMs: this.settings.holdTtlMs,
      callDigest: input.callId === null ? null : callDigestOf(tenant.tenantId, input.callId),
      bodyHash: input.callId === null ? null : bodyHashOf(input),
      policy: tenant.unresolvedPolicy ?? defaultPolicy(input.inPath),
      rule: walletRule(tenant),
      enforce: tenant.enforcement === 'enforce',
      strict: tenant.holdDurability === 'strict',
    });
    this.prepareForLoss(tenant, rules.revision, first.candidate.amountNano, result);
    return result;
  }

  private prepareForLoss(tenant: Tenant, rulesRevision: number, askedNano: Nano, result: ReserveResult): void {
    this.away.heard(tenant.tenantId, askedNano, result);
    if (result.kind !== 'held' || tenant.onStoreFailure !== 'allow_capped' || tenant.enforcement !== 'enforce' || result.hold.facts === null) return;
    const { wallet, hold } = result;
    this.slices.keep({ tenantId: tenant.tenantId, rule: walletRule(tenant), wallet, rulesRevision, amountNano: hold.amountNano, facts: result.hold.facts });
  }
}

type Asked = Omit<PlanInput, 'rules'>;
const NO_KEY_FUNDS: Reason = { ...reasonOf('insufficient_funds'), message: KEY_FUNDS_MESSAGE, scope: 'key' };
const MAX_TRIES = 5;

/** Postpaid tenants without a credit limit are limited by nothing: they pay afterwards. */
export function walletRule(tenant: Pick<Tenant, 'billing' | 'creditLimitNano'>): WalletRule {
  return { creditLimitNano: tenant.billing === 'postpaid' && tenant.creditLimitNano === 0n ? null : tenant.creditLimitNano };
}

function defaultPolicy(inPath: boolean): UnresolvedPolicy {
  return inPath ? 'charge_input' : 'release';
}

/** What makes two requests of one call id the same request. No id contains the separator, and none is empty. */
function bodyHashOf(input: AuthorizeInput): string {
  const ids = `${input.tenantId ?? ''}\n${input.provider ?? ''}\n${input.model ?? ''}\n${input.userId ?? ''}\n${input.feature ?? ''}\n${input.environment ?? ''}`;
  const origin = `${input.assistantId ?? ''}\n${input.threadId ?? ''}\n${input.apiKeyId ?? ''}\n${input.requestId ?? ''}\n${input.critical ? 'critical' : ''}`;
  const figures = `${input.inputTokens ?? ''}\n${input.maxOutputTokens ?? ''}\n${input.estimatedCostNano ?? ''}`;
  const tags = input.tags === null ? '' : JSON.stringify(Object.entries(input.tags).sort(([a], [b]) => (a < b ? -1 : 1)));
  return digest128Hex(ids, origin, figures, tags);
}
