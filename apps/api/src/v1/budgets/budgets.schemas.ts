import { z } from 'zod';
import { BUDGET_ATTRIBUTES, BUDGET_ENFORCEMENTS, COUNT_FROM, PERIODS, SCOPE_ATTRIBUTES, THRESHOLD_ACTIONS } from '#libs/quota/index.js';
import { count, externalId, pageOf, pageQuery, usd } from '../../http/schemas.js';
import { limit } from '../authorize/authorize.schemas.js';

const MAX_TAGS = 16;
const MAX_THRESHOLDS = 20;
const MAX_PERCENT = 1_000;
const MAX_ROLLING_SECONDS = 35 * 86_400;
/** What a counter holds at most. */
const MAX_COUNT = 9_000_000_000_000_000;

export const budgetId = externalId();
export const valueKey = externalId();

const tags = z
  .record(externalId(), z.string().min(1).max(256))
  .refine((value) => Object.keys(value).length <= MAX_TAGS, `must have at most ${MAX_TAGS} entries`);
const attributes = Object.fromEntries(SCOPE_ATTRIBUTES.map((attribute) => [attribute, externalId().optional()]));
const anyAttribute = Object.fromEntries(BUDGET_ATTRIBUTES.map((attribute) => [attribute, externalId().optional()]));

const limits = {
  limit_usd: usd().nullish(),
  limit_tokens: count(MAX_COUNT).nullish(),
  limit_requests: count(MAX_COUNT).nullish(),
  limit_concurrent: count(MAX_COUNT).nullish(),
};

const period = z.union([
  z.enum(PERIODS),
  z.strictObject({ rolling_seconds: z.int().min(1).max(MAX_ROLLING_SECONDS).meta({ description: 'Counted in sixty sub-buckets, the oldest counted whole' }) }),
]);

const threshold = z.strictObject({
  percent: z.int().min(1).max(MAX_PERCENT),
  action: z.enum(THRESHOLD_ACTIONS),
  applies_to: z.enum(['all', 'non_critical']).default('all'),
});

export const putBudgetBody = z
  .strictObject({
    scope: z
      .strictObject({ ...attributes, tags: tags.optional() })
      .default({})
      .meta({ description: 'Counts calls that say all of this' }),
    per: z
      .array(z.enum(BUDGET_ATTRIBUTES))
      .max(BUDGET_ATTRIBUTES.length)
      .default([])
      .meta({ description: 'One counter for each value; a call that lacks one does not count' }),
    period,
    ...limits,
    thresholds: z
      .array(threshold)
      .max(MAX_THRESHOLDS)
      .optional()
      .meta({ description: 'By default 50 notify, 80 downgrade non-critical, 100 block; without a block, 100 blocks' }),
    enforcement: z.enum(BUDGET_ENFORCEMENTS).default('enforce'),
    count_from: z
      .enum(COUNT_FROM)
      .optional()
      .meta({ description: 'By default the start of the period, for a budget across tenants now; with `per: ["tenant_id"]` only now' }),
  })
  .meta({ id: 'BudgetInput' });
export type PutBudgetBody = z.infer<typeof putBudgetBody>;

export const overrideBody = z.strictObject({ values: z.strictObject(anyAttribute), ...limits }).meta({ id: 'BudgetOverrideInput' });
export type OverrideBody = z.infer<typeof overrideBody>;

export const topUpBody = z
  .strictObject({
    values: z.strictObject(anyAttribute).default({}).meta({ description: 'The counter, for a budget with `per`' }),
    amount_usd: usd({ min: 1n }).nullish(),
    amount_tokens: count(MAX_COUNT).min(1).nullish(),
    amount_requests: count(MAX_COUNT).min(1).nullish(),
  })
  .refine((body) => [body.amount_usd, body.amount_tokens, body.amount_requests].some((amount) => amount !== null && amount !== undefined), {
    message: 'or another amount (amount_tokens, amount_requests) must be set',
    path: ['amount_usd'],
  })
  .meta({ id: 'BudgetTopUpInput' });
export type TopUpBody = z.infer<typeof topUpBody>;

export const listBudgetsQuery = pageQuery;
export type ListBudgetsQuery = z.infer<typeof listBudgetsQuery>;

const text = z.string().nullable();
const limitsWire = { limit_usd: text, limit_tokens: text, limit_requests: text, limit_concurrent: text };
const values = z.record(z.string(), z.string());

export const budgetWire = z
  .object({
    budget_id: z.string(),
    tenant_id: z.string().nullable().meta({ description: 'Null: across tenants' }),
    version: z.int().meta({ description: 'Another scope, `per` or period is another version, with counters of its own' }),
    scope: z.record(z.string(), z.unknown()),
    per: z.array(z.string()),
    period,
    timezone: z.string(),
    ...limitsWire,
    thresholds: z.array(z.object({ percent: z.int(), action: z.enum(THRESHOLD_ACTIONS), applies_to: z.enum(['all', 'non_critical']) })),
    enforcement: z.enum(BUDGET_ENFORCEMENTS),
    count_from: z.enum(COUNT_FROM),
    paused: z.boolean(),
    warming: z.boolean().meta({ description: 'Its counters are being back-filled: it refuses nothing yet' }),
    created_at: z.string(),
    updated_at: z.string(),
  })
  .meta({ id: 'Budget' });
export type BudgetWire = z.infer<typeof budgetWire>;
export const budgetPage = pageOf(budgetWire);

export const overrideWire = z.object({ override_id: z.string(), budget_id: z.string(), values, ...limitsWire }).meta({ id: 'BudgetOverride' });
export type OverrideWire = z.infer<typeof overrideWire>;
export const overridePage = pageOf(overrideWire);

export const topUpWire = z
  .object({
    top_up_id: z.string(),
    budget_id: z.string(),
    values,
    period_start: z.string(),
    amount_usd: text,
    amount_tokens: text,
    amount_requests: text,
    created_at: z.string(),
  })
  .meta({ id: 'BudgetTopUp' });
export type TopUpWire = z.infer<typeof topUpWire>;

const counterStatus = z.object({
  counter_id: z.string(),
  values: values.nullable().meta({ description: 'Null: of all values beyond the first 10,000' }),
  period_start: z.string().nullable().meta({ description: 'Null: a rolling window' }),
  limits: z.array(limit),
});
export const budgetStatus = z.object({ budget: budgetWire, data: z.array(counterStatus), next_cursor: z.string().nullable() }).meta({ id: 'BudgetStatus' });
export type BudgetStatusWire = z.infer<typeof budgetStatus>;
