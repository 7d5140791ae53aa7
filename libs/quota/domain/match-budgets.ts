/**
 * Which budgets a call counts for, and under which counter: the ONE matcher. Authorize makes claims of it, the posting transaction makes
 * deltas of it, a rebuild and a back-fill use it too, so that what is held and what is booked meet in the same counter.
 * Its cost depends on the budgets that may apply, not on how many a tenant has: each is filed under one value its scope demands.
 */
import { digest128, Lately, type Nano } from '#libs/kernel/index.js';
import {
  blockPercent,
  isShared,
  limitsFor,
  percentOf,
  thresholdFor,
  type Attribute,
  type Attributes,
  type Budget,
  type Limits,
  type Override,
  type Scope,
  type TopUp,
} from './budget.js';
import { keyOfBalance } from './key-balance.js';
import { bucketMsOf, bucketStart, CONCURRENT_TTL_MS, type Claim, type Lease, type Metric, type Window } from './limit.js';
import { periodAt, type Span } from './period.js';

/** A budget ready to be matched. */
export interface Rule {
  readonly budget: Budget;
  /** 128 bits of (owner, budget, version): what its counters' keys begin with. */
  readonly key: string;
  readonly overrides: ReadonlyMap<string, Override>;
  readonly topUps: ReadonlyMap<string, readonly TopUp[]>;
  readonly shape: Shape;
  /** By value key: those in use at the moment. */
  readonly places: Lately<string, Places>;
}

/** What of a rule is the same for every call: worked out once, because a decision has time for little more than comparisons. */
interface Shape {
  readonly scope: readonly (readonly [Attribute, string])[];
  readonly tags: readonly (readonly [string, string])[];
  readonly lines: readonly Line[];
  readonly isShared: boolean;
  readonly ofCritical: Percents;
  readonly ofOthers: Percents;
}

/** One limit of a budget. */
interface Line {
  readonly name: keyof Limits;
  readonly metric: Metric;
  readonly kind: Claim['kind'];
  readonly isRate: boolean;
}

/** Where a budget refuses, and where it prefers a cheaper model, in percent of its limits. */
interface Percents {
  readonly block: number | null;
  readonly downgrade: number | null;
}

/** One counter of one budget that a call counts for. */
export interface Match {
  readonly rule: Rule;
  /** Digest of the values of `per`, or 'all'. */
  readonly valueKey: string;
  /** Null: rolling. */
  readonly span: Span | null;
}

export const ALL_VALUES = 'all';
/** What shares a counter because the budget has no room for more. */
export const OTHER_VALUES = 'other';
/** Counters of one budget and period; what comes after them shares one. */
export const MAX_COUNTERS = 10_000;
// The rarest first: filed under a user, a budget costs the calls of other users nothing.
const FILED_UNDER: readonly Attribute[] = [
  'request_id',
  'thread_id',
  'user_id',
  'api_key_id',
  'assistant_id',
  'feature',
  'model',
  'source',
  'provider',
  'environment',
];

export class RuleSet {
  private readonly always: Rule[] = [];
  private readonly filed = new Map<string, Rule[]>();
  private readonly spans = new Map<string, Span>();

  /** @param full values that have counters of their own where a budget has no room for more, by {@link slotKey} */
  constructor(
    readonly rules: readonly Rule[],
    private readonly full: ReadonlyMap<string, ReadonlySet<string>> = new Map(),
  ) {
    for (const rule of rules) {
      const under = FILED_UNDER.find((attribute) => rule.budget.scope[attribute] !== undefined);
      if (under === undefined) this.always.push(rule);
      else {
        const place = placeOf(under, rule.budget.scope[under] ?? '');
        this.filed.set(place, [...(this.filed.get(place) ?? []), rule]);
      }
    }
  }

  get isEmpty(): boolean {
    return this.rules.length === 0;
  }

  /** Whether the balance of a key is among the rules. */
  hasBalance(budgetId: string): boolean {
    const apiKeyId = keyOfBalance(budgetId);
    const filed = apiKeyId === null ? undefined : this.filed.get(placeOf('api_key_id', apiKeyId));
    return filed?.some(({ budget }) => budget.budgetId === budgetId) ?? false;
  }

  /** Every counter that a call asked for at `atMs` counts for. */
  match(call: Attributes, atMs: number): Match[] {
    const matches: Match[] = [];
    for (const rule of this.always) this.add(matches, rule, call, atMs);
    if (this.filed.size === 0) return matches;
    for (const attribute of FILED_UNDER) {
      const value = call[attribute];
      if (value === null) continue;
      for (const rule of this.filed.get(placeOf(attribute, value)) ?? []) this.add(matches, rule, call, atMs);
    }
    return matches;
  }

  /** The period of a budget that holds `atMs`; null for a rolling one. */
  spanAt({ period, timezone }: Pick<Budget, 'period' | 'timezone'>, atMs: number): Span | null {
    if (period.kind === 'rolling') return null;
    const key = `${period.kind} ${timezone}`;
    const known = this.spans.get(key);
    if (known && atMs >= known.startsAtMs && (known.endsAtMs === null || atMs < known.endsAtMs)) return known;
    const span = periodAt(period.kind, timezone, atMs);
    this.spans.set(key, span);
    return span;
  }

  private add(matches: Match[], rule: Rule, call: Attributes, atMs: number): void {
    const { budget } = rule;
    if (budget.countsFromMs !== null && atMs < budget.countsFromMs) return;
    if (!isInScope(rule.shape, call)) return;
    const valueKey = valueKeyOf(budget.per, call);
    if (valueKey === null) return;
    const span = this.spanAt(budget, atMs);
    const kept = this.full.size === 0 ? undefined : this.full.get(slotKey(rule.key, slotMsOf(budget, span, atMs)));
    matches.push({ rule, valueKey: kept === undefined || kept.has(valueKey) ? valueKey : OTHER_VALUES, span });
  }
}

function placeOf(attribute: Attribute, value: string): string {
  return `${attribute}\0${value}`;
}

function isInScope({ scope, tags }: Shape, call: Attributes): boolean {
  for (const [attribute, wanted] of scope) if (wanted !== call[attribute]) return false;
  return tags.every(([tag, wanted]) => call.tags !== null && Object.hasOwn(call.tags, tag) && call.tags[tag] === wanted);
}

/** Digests of the values of `per` that calls name at the moment: one costs as much as the rest of a match. */
const valueKeys = new Lately<string, string>(8_192);

/** The key of a call's values of `per`; null where one is missing: then the budget does not apply. */
export function valueKeyOf(per: readonly Attribute[], call: Pick<Scope, Attribute> | Attributes): string | null {
  if (per.length === 0) return ALL_VALUES;
  const parts: string[] = [];
  let text = '';
  for (const attribute of per) {
    const value = call[attribute];
    if (value === undefined || value === null) return null;
    parts.push(attribute, value);
    text += `${attribute}${value.length}:${value}`;
  }
  return valueKeys.get(text, () => digest128('quota.values', ...parts).toString('base64url'));
}

/** What a budget's counters' keys begin with. */
export function ruleKeyOf({ tenantId, budgetId, version }: Pick<Budget, 'tenantId' | 'budgetId' | 'version'>): string {
  return digest128('quota.budget', tenantId, budgetId, String(version)).toString('base64url');
}

/** A budget ready to be matched, with what concerns it of `overrides` and `topUps`. */
export function ruleOf(budget: Budget, overrides: readonly Override[], topUps: readonly TopUp[]): Rule {
  const added = new Map<string, TopUp[]>();
  for (const topUp of topUps) {
    if (topUp.budgetId !== budget.budgetId) continue;
    const key = topUpKey(topUp.valueKey, topUp.periodMs);
    added.set(key, [...(added.get(key) ?? []), topUp]);
  }
  const own = overrides.filter((override) => override.budgetId === budget.budgetId);
  return {
    budget,
    key: ruleKeyOf(budget),
    overrides: new Map(own.map((override) => [override.valueKey, override])),
    topUps: added,
    shape: shapeOf(budget),
    places: new Lately(MAX_PLACES),
  };
}

/** Value keys of a rule in use at a time. */
const MAX_PLACES = 4_096;

/** Where a claim counts. */
interface Place {
  readonly counter: string;
  readonly window: Window;
}

/** The counters of one value of `per` in the period that was asked for last: every hold that counts there shares their names and windows. */
class Places {
  private startsAtMs: number | null = null;
  private readonly made = new Map<Metric, Place>();

  at(match: Match, metric: Metric): Place {
    const startsAtMs = match.span?.startsAtMs ?? null;
    if (startsAtMs !== this.startsAtMs) {
      this.startsAtMs = startsAtMs;
      this.made.clear();
    }
    let place = this.made.get(metric);
    if (place === undefined) this.made.set(metric, (place = { counter: counterKey(match, metric), window: windowOf(match, metric) }));
    return place;
  }
}

function shapeOf(budget: Budget): Shape {
  const { scope, thresholds } = budget;
  const percentsFor = (critical: boolean): Percents => ({
    block: blockPercent(thresholds, critical),
    downgrade: thresholdFor(thresholds, 'downgrade', critical),
  });
  return {
    scope: FILED_UNDER.flatMap((attribute) => (scope[attribute] === undefined ? [] : [[attribute, scope[attribute]] as const])),
    tags: Object.entries(scope.tags ?? {}),
    lines: LIMITS.map((name) => ({ name, metric: METRIC_OF[name], kind: kindOf(budget, METRIC_OF[name]), isRate: isRate(budget, METRIC_OF[name]) })),
    isShared: isShared(budget),
    ofCritical: percentsFor(true),
    ofOthers: percentsFor(false),
  };
}

function topUpKey(valueKey: string, periodMs: number): string {
  return `${valueKey} ${periodMs}`;
}

const METRIC_OF = { usdNano: 'usd', tokens: 'tokens', requests: 'requests', concurrent: 'concurrent' } as const;
const LIMITS = Object.keys(METRIC_OF) as (keyof Limits)[];

/** A store's name of a counter. `metric` is part of it: metrics are judged apart. */
export function counterKey(match: Match, metric: Metric): string {
  return `${match.rule.key}.${match.valueKey}.${match.span === null ? 'r' : match.span.startsAtMs}.${metric}`;
}

export function windowOf(match: Match, metric: Metric): Window {
  const { period } = match.rule.budget;
  if (metric === 'concurrent') return { kind: 'concurrent', ttlMs: CONCURRENT_TTL_MS };
  if (period.kind === 'rolling') return { kind: 'rolling', bucketMs: bucketMsOf(period.seconds) };
  return { kind: 'fixed', endsAtMs: match.span?.endsAtMs ?? null };
}

/** The limits of the counter that `match` names. */
export function limitsOf({ rule, valueKey, span }: Match): Limits {
  // Most budgets are as they were set.
  if (rule.overrides.size === 0 && rule.topUps.size === 0) return rule.budget.limits;
  const topUps = span === null ? [] : (rule.topUps.get(topUpKey(valueKey, span.startsAtMs)) ?? []);
  return limitsFor(rule.budget, rule.overrides.get(valueKey), topUps);
}

export interface Taking {
  readonly amountNano: Nano;
  readonly tokens: bigint;
  readonly critical: boolean;
  /** False: the tenant is in shadow. */
  readonly enforce: boolean;
}

/** What a call asks of every limit it counts for. */
export function claimsFor(matches: readonly Match[], taking: Taking): Claim[] {
  const claims: Claim[] = [];
  for (const match of matches) {
    const limits = limitsOf(match);
    for (const line of match.rule.shape.lines) {
      const limit = limits[line.name];
      if (limit !== null) claims.push(claimOf(match, line, limit, taking));
    }
  }
  return claims;
}

function claimOf(match: Match, { metric, kind, isRate: rate }: Line, limit: bigint, taking: Taking): Claim {
  const { budget, shape, places } = match.rule;
  const { counter, window } = places.get(match.valueKey, () => new Places()).at(match, metric);
  const { block, downgrade: preferred } = taking.critical ? shape.ofCritical : shape.ofOthers;
  // A cheaper model takes as many running calls as any other.
  const downgrade = metric === 'concurrent' ? null : preferred;
  const lease: Lease | undefined = shape.isShared ? { block, downgrade, isFinal: false } : undefined;
  return {
    budgetId: budget.budgetId,
    kind,
    counter,
    metric,
    window,
    limit,
    amount: metric === 'usd' ? taking.amountNano : metric === 'tokens' ? taking.tokens : 1n,
    downgradeAt: downgrade === null ? null : percentOf(limit, downgrade),
    blockAt: block === null ? null : percentOf(limit, block),
    enforced: taking.enforce && budget.enforcement === 'enforce',
    silent: budget.warming || budget.paused,
    rate,
    lease,
  };
}

function isRate({ period }: Budget, metric: Metric): boolean {
  return (metric === 'requests' || metric === 'tokens') && (period.kind === 'rolling' || period.kind === 'hour');
}

function kindOf(budget: Budget, metric: Metric): Claim['kind'] {
  if (budget.scope.api_key_id !== undefined || budget.per.includes('api_key_id')) return 'key';
  return metric === 'concurrent' || isRate(budget, metric) ? 'rate' : 'budget';
}

/** The period, or the aligned window of a rolling budget, in which its counters are numbered. */
export function slotMsOf(budget: Pick<Budget, 'period'>, span: Span | null, atMs: number): number {
  return budget.period.kind === 'rolling' ? bucketStart(atMs, budget.period.seconds * 1_000) : (span?.startsAtMs ?? 0);
}

export function slotKey(ruleKey: string, slotMs: number): string {
  return `${ruleKey} ${slotMs}`;
}

/** Where PostgreSQL keeps what a match has used: its period's start, or the sub-bucket of `atMs`. */
export function periodMsOf(match: Match, atMs: number): number {
  const { period } = match.rule.budget;
  return period.kind === 'rolling' ? bucketStart(atMs, bucketMsOf(period.seconds)) : (match.span?.startsAtMs ?? 0);
}
