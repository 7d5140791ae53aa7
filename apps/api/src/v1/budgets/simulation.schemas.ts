import { z } from 'zod';
import { REASON_CODES, THRESHOLD_ACTIONS } from '#libs/quota/index.js';
import { count, time } from '../../http/schemas.js';
import { routesBody } from '../routes/routes.schemas.js';
import { putBudgetBody } from './budgets.schemas.js';

const MAX_LISTED = 5_000;
const LISTED = 100;

/** The budget exactly as a PUT takes it, and the past it is tried on. */
export const simulateBudgetBody = putBudgetBody
  .extend({
    from: time()
      .optional()
      .meta({ description: 'By default seven days before `to`; at most 35 days ago. What is not judged because it was before still counts for its period' }),
    to: time().optional().meta({ description: 'By default now' }),
    routes: routesBody.optional().meta({ description: "Ladders to try with it; by default the tenant's and everybody's of now" }),
    blocked_calls: count(MAX_LISTED).default(LISTED).meta({ description: 'How many blocked calls are listed' }),
  })
  .meta({ id: 'BudgetSimulationInput' });
export type SimulateBudgetBody = z.infer<typeof simulateBudgetBody>;

const usd = z.string().meta({ description: 'USD' });
const metric = z.enum(['usd', 'tokens', 'requests', 'concurrent']);
const counter = {
  metric,
  values: z.record(z.string(), z.string()).nullable().meta({ description: 'Null: of all values beyond the first 10,000' }),
  period_start: z.string().nullable().meta({ description: 'Null: a rolling window' }),
  limit: z.string(),
};

const simulatedCounter = z.object({
  ...counter,
  used: z.string().meta({ description: 'The most that was booked at once' }),
  blocked_calls: z.int(),
  first_blocked_at: z.string().nullable(),
  crossings: z
    .array(z.object({ percent: z.int(), action: z.enum(THRESHOLD_ACTIONS), at: z.string() }))
    .meta({ description: 'When what was booked first reached each threshold' }),
});

const blockedCall = z.object({
  call_id: z.string().nullable(),
  hold_id: z.string().nullable().meta({ description: 'Null: nobody asked for this call, it was only reported' }),
  event_id: z.string().nullable(),
  at: z.string(),
  reason: z.enum(REASON_CODES),
  cost_usd: usd.meta({ description: 'What it cost when it ran' }),
  counter: z.object(counter).nullable(),
  used: z.string(),
  held: z.string(),
  asked: z.string(),
});

export const budgetSimulation = z
  .object({
    from: z.string(),
    to: z.string(),
    as_of: z.string(),
    timezone: z.string(),
    shadow: z.boolean().meta({ description: 'The draft is in shadow: every call runs, and what is told as blocked would have been' }),
    calls: z.object({ looked_at: z.int(), allowed: z.int(), downgraded: z.int(), shortened: z.int(), blocked: z.int() }),
    blocked_by: z.record(z.string(), z.int()).meta({ description: 'Blocked calls by reason' }),
    recorded_usd: usd.meta({ description: 'What the calls cost' }),
    allowed_usd: usd.meta({ description: 'What those that would have run would have cost, on the model they would have run on' }),
    blocked_usd: usd.meta({ description: 'What the blocked calls cost' }),
    counters: z.array(simulatedCounter).meta({ description: 'The fifty fullest' }),
    blocked: z.array(blockedCall).meta({ description: 'The first ones' }),
    history: z
      .object({
        reported_only: z.int().meta({ description: 'Calls that nobody asked for: judged when they occurred, by what they cost' }),
        unreported: z.int().meta({ description: 'Calls that nobody reported yet: their holds count, their cost is in no sum' }),
        assumed: z.int().meta({ description: 'Calls whose report does not tell what another model would have cost' }),
        refused_then: z.int().meta({ description: 'Calls that were refused at the time: they are not looked at' }),
      })
      .meta({ description: 'What the past does not tell' }),
    truncated: z.boolean(),
    truncated_by: z.enum(['rows', 'deadline']).nullable(),
    next_from: z.string().nullable().meta({ description: 'Everything before this was looked at; a run from here begins with what was really spent' }),
  })
  .meta({ id: 'BudgetSimulation' });
export type BudgetSimulationWire = z.infer<typeof budgetSimulation>;
