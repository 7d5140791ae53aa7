/** Which limits count at this moment and what is left of them, as the store that decides sees them. */
import { DomainError, type Clock, type Nano } from '#libs/kernel/index.js';
import type { Database } from '#libs/platform/postgres/database.js';
import type { TenantDirectory } from '#libs/tenancy/index.js';
import { isShared, leasedPercents, type Attributes, type Budget, type Scope } from '../domain/budget.js';
import type { LimitLine, WalletLimit } from '../domain/decision.js';
import { leaseKey } from '../domain/lease.js';
import { bucketMsOf, oldestBucket, type Claim, type CounterDelta } from '../domain/limit.js';
import { ALL_VALUES, claimsFor, OTHER_VALUES, slotMsOf, type Match, type Rule } from '../domain/match-budgets.js';
import { isKeyBalance } from '../domain/key-balance.js';
import { availableOf, remainingOf } from '../domain/wallet.js';
import { walletRule } from './authorize-call.js';
import type { BudgetStore } from './budget-store.js';
import { budgetNotFound } from './change-budget.js';
import type { QuotaService } from './quota-service.js';
import type { LimitView } from './quota-store.js';
import { EVERYBODY, type RuleBook, type TenantRules } from './rule-book.js';

const MAX_TRIES = 5;

export interface CounterStatus {
  readonly valueKey: string;
  /** Null: the counter of all values that found no room for one of their own. */
  readonly values: Scope | null;
  readonly startsAtMs: number | null;
  readonly limits: readonly LimitLine[];
}

/** What PostgreSQL tells of a tenant that never asked for a hold. */
export interface StandingRows {
  readonly hasHeld: (tenantId: string) => Promise<boolean>;
  readonly counters: (tenantId: string, rules: TenantRules, nowMs: number) => Promise<readonly CounterDelta[]>;
  readonly postedNano: (tenantId: string) => Promise<Nano>;
  /** What is given out of shared limits, by lease; absent where nothing is. */
  readonly leased: (leases: readonly string[]) => Promise<ReadonlyMap<string, bigint>>;
}

export class ReadLimits {
  constructor(
    private readonly quota: QuotaService,
    private readonly rules: RuleBook,
    private readonly tenants: TenantDirectory,
    private readonly store: BudgetStore,
    private readonly rows: StandingRows,
    private readonly database: Database,
    private readonly clock: Clock,
  ) {}

  /** The wallet and every limit a call that says so would count for. @throws DomainError tenant.not_found, storage.unavailable, quota.fenced */
  async execute(tenantId: string, call: Attributes): Promise<{ wallet: WalletLimit; limits: LimitLine[] }> {
    const tenant = await this.tenants.find(tenantId);
    if (tenant === null) throw new DomainError({ code: 'tenant.not_found', kind: 'not_found', publicMessage: 'there is no such tenant' });
    const nowMs = this.clock.now().getTime();
    const views = await this.view(tenantId, nowMs, ({ set }) => claimsOf(set.match(call, nowMs), tenant.enforcement === 'enforce'));
    const known = await this.quota.store.wallet(tenantId);
    const wallet = known === 'unknown' ? { postedNano: await this.rows.postedNano(tenantId), heldNano: 0n } : known;
    const rule = walletRule(tenant);
    return {
      wallet: {
        limitNano: remainingOf(wallet, rule),
        usedNano: wallet.postedNano < 0n ? -wallet.postedNano : 0n,
        heldNano: wallet.heldNano,
        remainingNano: availableOf(wallet, rule),
        enforced: tenant.enforcement === 'enforce',
        binding: false,
      },
      limits: views.map((view) => ({ ...view, binding: false })),
    };
  }

  /**
   * Budgets with one counter in dollars, by id: what was used of them and is held. `held` is null where the quota state cannot be reached, for
   * what is used is in PostgreSQL all the same. @throws DomainError storage.unavailable
   */
  async ofBudgets(
    tenantId: string,
    budgetIds: ReadonlySet<string>,
  ): Promise<ReadonlyMap<string, Pick<LimitView, 'claim' | 'used'> & { readonly held: bigint | null }>> {
    const nowMs = this.clock.now().getTime();
    const claims = ({ set }: TenantRules): Claim[] => {
      const own = set.rules.filter(({ budget }) => budget.tenantId === tenantId && budgetIds.has(budget.budgetId));
      return claimsOf(
        own.map((rule) => ({ rule, valueKey: ALL_VALUES, span: set.spanAt(rule.budget, nowMs) })),
        true,
      ).filter(({ metric }) => metric === 'usd');
    };
    const rules = await this.rules.find(tenantId);
    if (claims(rules).length === 0) return new Map();
    const views = await this.view(tenantId, nowMs, claims).catch(async (error: unknown) => {
      if (!(error instanceof DomainError) || error.kind !== 'unavailable') throw error;
      return (await this.fromRows(tenantId, rules, claims(rules), nowMs)).map((view) => ({ ...view, held: null }));
    });
    return new Map(views.map((view) => [view.claim.budgetId, view]));
  }

  /**
   * The counters of one budget in its period of now that anything was booked on, by value. Of a budget that all tenants share: what all of
   * them booked, and as held what is set aside for their calls.
   * @throws DomainError budget.not_found, budget.per_tenant (across tenants, each its own), storage.unavailable, quota.fenced
   */
  async status(input: { tenantId: string; budgetId: string; after: string | null; limit: number }): Promise<{ budget: Budget; counters: CounterStatus[] }> {
    const { tenantId, budgetId } = input;
    const nowMs = this.clock.now().getTime();
    const rule = (await this.rules.find(tenantId)).set.rules.find(({ budget }) => budget.tenantId === tenantId && budget.budgetId === budgetId);
    if (!rule || isKeyBalance(budgetId)) throw budgetNotFound();
    if (tenantId === EVERYBODY && !isShared(rule.budget)) throw perTenant();
    const { set } = await this.rules.find(tenantId);
    const span = set.spanAt(rule.budget, nowMs);
    const named = await this.valuesOf(rule, input, nowMs);
    const matchOf = (of: Rule, valueKey: string): Match => ({ rule: of, valueKey, span });
    const counters: CounterStatus[] = [];
    for (const { valueKey, values } of named) {
      const claimsBy = (rules: TenantRules): Claim[] => {
        const now = rules.set.rules.find(({ key }) => key === rule.key);
        return now === undefined ? [] : claimsOf([matchOf(now, valueKey)], true);
      };
      const views = tenantId === EVERYBODY ? await this.viewShared(rule.budget, claimsBy, nowMs) : await this.view(tenantId, nowMs, claimsBy);
      counters.push({ valueKey, values, startsAtMs: span?.startsAtMs ?? null, limits: views.map((view) => ({ ...view, binding: false })) });
    }
    return { budget: rule.budget, counters };
  }

  private async valuesOf(
    { budget, key }: Rule,
    input: { tenantId: string; after: string | null; limit: number },
    nowMs: number,
  ): Promise<{ valueKey: string; values: Scope | null }[]> {
    if (budget.per.length === 0) return input.after === null ? [{ valueKey: ALL_VALUES, values: {} }] : [];
    const span = (await this.rules.find(input.tenantId)).set.spanAt(budget, nowMs);
    const { period } = budget;
    const slots =
      period.kind === 'rolling'
        ? [slotMsOf(budget, null, oldestBucket(nowMs, bucketMsOf(period.seconds))), slotMsOf(budget, null, nowMs)]
        : [slotMsOf(budget, span, nowMs)];
    const rows = await this.store.values(this.database, { tenantId: input.tenantId, budgetKey: key, slots, after: input.after, limit: input.limit });
    return rows.map((row) => ({ valueKey: row.valueKey, values: row.valueKey === OTHER_VALUES ? null : row.values }));
  }

  private async viewShared(budget: Budget, claims: (rules: TenantRules) => Claim[], nowMs: number): Promise<LimitView[]> {
    const rules = await this.rules.find(EVERYBODY);
    const views = await this.fromRows(EVERYBODY, rules, claims(rules), nowMs);
    const top = Math.max(...leasedPercents(budget));
    const leased = await this.rows.leased(views.map(({ claim }) => leaseKey(claim.counter, top)));
    return views.map(({ claim, used }) => {
      const given = leased.get(leaseKey(claim.counter, top)) ?? 0n;
      return { claim, used, held: given > used ? given - used : 0n };
    });
  }

  private async fromRows(tenantId: string, rules: TenantRules, claims: readonly Claim[], nowMs: number): Promise<LimitView[]> {
    const deltas = await this.rows.counters(tenantId, rules, nowMs);
    return claims.map((claim) => ({ claim, used: usedOf(claim, deltas, nowMs), held: 0n }));
  }

  /** Loads the tenant, or the rules, until both agree. */
  private async view(tenantId: string, nowMs: number, claims: (rules: TenantRules) => Claim[]): Promise<readonly LimitView[]> {
    for (let tries = 0; tries < MAX_TRIES; tries += 1) {
      this.quota.assertMayPromise();
      const rules = await this.rules.find(tenantId);
      const views = await this.quota.store.limits({ tenantId, claims: claims(rules), rulesRevision: rules.revision, nowMs });
      if (views !== null) return views;
      // Asking what is left must not make a tenant one that asks for holds.
      if (!(await this.rows.hasHeld(tenantId))) return await this.fromRows(tenantId, rules, claims(rules), nowMs);
      await this.quota.store.forget(tenantId);
      await this.quota.load(tenantId);
      await this.rules.refresh();
    }
    throw unreachable();
  }
}

/** How far `claim` is used by what was booked. */
function usedOf(claim: Claim, deltas: readonly CounterDelta[], nowMs: number): bigint {
  const { window } = claim;
  const own = deltas.filter(({ counter, atMs }) => counter === claim.counter && (window.kind !== 'rolling' || atMs >= oldestBucket(nowMs, window.bucketMs)));
  return own.reduce((sum, { amount }) => sum + amount, 0n);
}

function claimsOf(matches: readonly Match[], enforce: boolean): Claim[] {
  return claimsFor(matches, { amountNano: 0n, tokens: 0n, critical: false, enforce });
}

function perTenant(): DomainError {
  const publicMessage = 'every tenant has its own counter of this budget: ask for the limits of a tenant';
  return new DomainError({ code: 'budget.per_tenant', kind: 'conflict', publicMessage });
}

function unreachable(): DomainError {
  return new DomainError({ code: 'quota.store_unavailable', kind: 'unavailable', publicMessage: 'the quota state cannot be reached', retryAfterMs: 1_000 });
}
