import fc from 'fast-check';
import { ATTRIBUTES, type Attributes, type Budget } from './budget.js';
import { claimsFor, counterKey, MAX_COUNTERS, OTHER_VALUES, ruleOf, RuleSet, slotKey, valueKeyOf, type Match } from './match-budgets.js';
import { budgetOf, callOf } from '../testing/budget-builder.js';

const AT = Date.parse('2026-11-22T12:00:00Z');
const fields = ATTRIBUTES.filter((attribute) => attribute !== 'tenant_id');
const value = fc.constantFrom('a', 'b');
const call = fc
  .record({ fields: fc.dictionary(fc.constantFrom(...fields), value), tags: fc.option(fc.dictionary(fc.constantFrom('team', 'stage', '__proto__x'), value)) })
  .map(({ fields: named, tags }): Attributes => ({ ...callOf(named), tags }));
const budget = fc
  .record({
    scope: fc.dictionary(fc.constantFrom(...fields), value, { maxKeys: 3 }),
    tags: fc.option(fc.dictionary(fc.constantFrom('team', 'stage'), value), { nil: undefined }),
    per: fc.uniqueArray(fc.constantFrom(...fields), { maxLength: 2 }),
    fromMs: fc.constantFrom(null, AT, AT + 1),
  })
  .map((drawn) => drawn);

/** The rule in words: everything the scope names is said, every field of `per` has a value, and it was asked late enough. */
function appliesByHand({ scope, per, countsFromMs }: Budget, said: Attributes): boolean {
  const named = fields.every((field) => scope[field] === undefined || scope[field] === said[field]);
  const tagged = Object.entries(scope.tags ?? {}).every(([tag, wanted]) => (said.tags ?? {})[tag] === wanted);
  return named && tagged && per.every((field) => said[field] !== null) && (countsFromMs === null || AT >= countsFromMs);
}

describe('which budgets a call counts for', () => {
  it('those whose scope it says whole and whose `per` it has values for, however many there are', () => {
    fc.assert(
      fc.property(fc.array(budget, { maxLength: 12 }), call, (drawn, said) => {
        const budgets = drawn.map(({ scope, tags, per, fromMs }, index) =>
          budgetOf({ budgetId: `b${index}`, scope: tags === undefined ? scope : { ...scope, tags }, per, countsFromMs: fromMs }),
        );
        const matched = new RuleSet(budgets.map((one) => ruleOf(one, [], []))).match(said, AT).map(({ rule }) => rule.budget.budgetId);
        const byHand = budgets.filter((one) => appliesByHand(one, said)).map((one) => one.budgetId);
        expect(matched.sort()).toEqual(byHand.sort());
      }),
    );
  });

  it('two calls share a counter exactly where their values of `per` are the same', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.constantFrom(...fields), { minLength: 1, maxLength: 3 }), call, call, (per, left, right) => {
        const [one, other] = [valueKeyOf(per, left), valueKeyOf(per, right)];
        if (one === null || other === null) return;
        expect(one === other).toBe(per.every((field) => left[field] === right[field]));
      }),
    );
  });

  it('values that read the same when they are joined have counters of their own', () => {
    const per = ['user_id', 'feature'] as const;
    const left = valueKeyOf(per, callOf({ user_id: 'afeatureb', feature: 'c' }));
    expect(valueKeyOf(per, callOf({ user_id: 'a', feature: 'bfeaturec' }))).not.toBe(left);
  });

  it('the period, the version and the metric are part of a counter', () => {
    const key = (one: Budget, atMs: number, metric: 'usd' | 'tokens' = 'usd'): string => {
      const [match] = new RuleSet([ruleOf(one, [], [])]).match(callOf({}), atMs);
      return match === undefined ? '' : counterKey(match, metric);
    };
    const monthly = budgetOf({ period: { kind: 'month' } });
    const keys = [key(monthly, AT), key(monthly, Date.parse('2026-12-01T00:00:00Z')), key({ ...monthly, version: 2 }, AT), key(monthly, AT, 'tokens')];
    expect(new Set(keys).size).toBe(4);
    expect(key(monthly, Date.parse('2026-11-30T23:59:59.999Z'))).toBe(key(monthly, AT));
  });

  it('values beyond those that have a counter share one, in the period that is full and in no other', () => {
    const perUser = budgetOf({ per: ['user_id'], period: { kind: 'month' } });
    const rule = ruleOf(perUser, [], []);
    const known = valueKeyOf(['user_id'], callOf({ user_id: 'known' })) ?? '';
    const set = new RuleSet([rule], new Map([[slotKey(rule.key, Date.parse('2026-11-01T00:00:00Z')), new Set([known])]]));
    const keyOf = (user: string, atMs: number): string | undefined => set.match(callOf({ user_id: user }), atMs)[0]?.valueKey;
    expect([keyOf('known', AT), keyOf('new', AT), keyOf('newer', AT)]).toEqual([known, OTHER_VALUES, OTHER_VALUES]);
    expect(keyOf('new', Date.parse('2026-12-02T00:00:00Z'))).not.toBe(OTHER_VALUES);
    expect(MAX_COUNTERS).toBe(10_000);
  });
});

describe('what a call asks of a limit', () => {
  const TAKING = { amountNano: 5n, tokens: 7n, critical: false, enforce: true };
  const claimsOf = (
    one: Budget,
    more: { critical?: boolean; enforce?: boolean } = {},
    overrides: Parameters<typeof ruleOf>[1] = [],
    topUps: Parameters<typeof ruleOf>[2] = [],
  ) => {
    const matches: Match[] = new RuleSet([ruleOf(one, overrides, topUps)]).match(callOf({ user_id: 'u' }), AT);
    return claimsFor(matches, { ...TAKING, ...more });
  };

  it('one claim for each limit, with what the call takes of it', () => {
    const claims = claimsOf(budgetOf({ limits: { usdNano: 100n, tokens: 50n, requests: 3n, concurrent: 2n } }));
    expect(claims.map(({ metric, amount, limit }) => [metric, amount, limit])).toEqual([
      ['usd', 5n, 100n],
      ['tokens', 7n, 50n],
      ['requests', 1n, 3n],
      ['concurrent', 1n, 2n],
    ]);
  });

  it('thresholds are the lowest that count for the call; a critical one is spared where they say so; without a block, 100 % blocks', () => {
    const one = budgetOf({
      limits: { usdNano: 1_000n, tokens: null, requests: null, concurrent: null },
      thresholds: [
        { percent: 80, action: 'downgrade', appliesTo: 'non_critical' },
        { percent: 90, action: 'downgrade', appliesTo: 'all' },
        { percent: 100, action: 'block', appliesTo: 'non_critical' },
      ],
    });
    expect(claimsOf(one)[0]).toMatchObject({ downgradeAt: 800n, blockAt: 1_000n });
    expect(claimsOf(one, { critical: true })[0]).toMatchObject({ downgradeAt: 900n, blockAt: null });
    expect(claimsOf({ ...one, thresholds: [{ percent: 50, action: 'notify', appliesTo: 'all' }] })[0]).toMatchObject({ downgradeAt: null, blockAt: 1_000n });
  });

  it('an override replaces what it names for its values, and a top-up adds in its period alone', () => {
    const one = budgetOf({
      budgetId: 'b',
      per: ['user_id'],
      period: { kind: 'month' },
      limits: { usdNano: 100n, tokens: 10n, requests: null, concurrent: null },
    });
    const valueKey = valueKeyOf(['user_id'], callOf({ user_id: 'u' })) ?? '';
    const none = { usdNano: null, tokens: null, requests: null, concurrent: null };
    const override = { budgetId: 'b', values: { user_id: 'u' }, valueKey, limits: { ...none, usdNano: 500n } };
    const topUp = (periodMs: number) => ({ budgetId: 'b', valueKey, periodMs, limits: { ...none, usdNano: 30n } });
    const limits = (periodMs: number) => claimsOf(one, {}, [override], [topUp(periodMs)]).map(({ limit }) => limit);
    expect(limits(Date.parse('2026-11-01T00:00:00Z'))).toEqual([530n, 10n]);
    expect(limits(Date.parse('2026-10-01T00:00:00Z'))).toEqual([500n, 10n]);
  });

  it('a shadow budget or tenant refuses nothing; one that is warming or paused is not even told', () => {
    const one = budgetOf({});
    expect(claimsOf(one)[0]).toMatchObject({ enforced: true, silent: false });
    expect(claimsOf({ ...one, enforcement: 'shadow' })[0]).toMatchObject({ enforced: false, silent: false });
    expect(claimsOf(one, { enforce: false })[0]).toMatchObject({ enforced: false, silent: false });
    for (const silent of [{ warming: true }, { paused: true }]) expect(claimsOf({ ...one, ...silent })[0]?.silent).toBe(true);
  });
});
