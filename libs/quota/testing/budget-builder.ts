import { ATTRIBUTES, DEFAULT_THRESHOLDS, type Attribute, type Attributes, type Budget } from '../domain/budget.js';

const MADE = new Date('2026-11-01T00:00:00Z');

/** A monthly budget of one dollar over everything, but for what the test says. */
export function budgetOf(change: Partial<Budget>): Budget {
  return {
    tenantId: 'acme',
    budgetId: 'budget',
    version: 1,
    scope: {},
    per: [],
    period: { kind: 'month' },
    timezone: 'UTC',
    limits: { usdNano: 1_000_000_000n, tokens: null, requests: null, concurrent: null },
    thresholds: DEFAULT_THRESHOLDS,
    enforcement: 'enforce',
    countFrom: 'period_start',
    countsFromMs: null,
    paused: false,
    warming: false,
    createdAt: MADE,
    updatedAt: MADE,
    ...change,
  };
}

/** A call that says nothing about itself but what the test says. */
export function callOf(said: { readonly [attribute in Attribute]?: string | undefined }): Attributes {
  const silent = Object.fromEntries(ATTRIBUTES.map((attribute) => [attribute, said[attribute] ?? null])) as { [attribute in Attribute]: string | null };
  return { ...silent, tenant_id: 'acme', tags: null };
}
