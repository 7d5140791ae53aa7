import { z } from 'zod';
import { HOLD_STATES } from '#libs/quota/index.js';
import { spendEventSchema } from '#libs/metering/index.js';
import { count, externalId, page, usd } from '../../http/schemas.js';

const MAX_TTL_MS = 24 * 60 * 60 * 1_000;
const MAX_TOKENS = 1_000_000_000;

export const listHoldsQuery = z.strictObject({ ...page, tenant_id: externalId().optional(), state: z.enum(HOLD_STATES).optional() });

export const holdWire = z
  .object({
    hold_id: z.string(),
    tenant_id: z.string(),
    state: z.enum(HOLD_STATES),
    resolution: z.string().nullable().meta({ description: 'How it ended: event, late_event, release, expired, charged (by its policy after it expired)' }),
    amount_usd: z.string(),
    captured_usd: z.string().meta({ description: 'What booked events took; above the amount where the estimate was too low' }),
    unresolved_policy: z.enum(['charge_input', 'charge_estimate', 'charge_hold', 'release']),
    created_at: z.string(),
    expires_at: z.string(),
    resolved_at: z.string().nullable(),
    call_id: z.string().nullable(),
    provider: z.string().nullable(),
    model: z.string().nullable(),
    requested_model: z.string().nullable(),
    input_tokens: z.int().nullable(),
    max_output_tokens: z.int().nullable(),
    user_id: z.string().nullable(),
    feature: z.string().nullable(),
    environment: z.string().nullable(),
    assistant_id: z.string().nullable(),
    thread_id: z.string().nullable(),
    api_key_id: z.string().nullable(),
    request_id: z.string().nullable(),
  })
  .meta({ id: 'Hold' });

export const settleBody = z
  .strictObject({
    cost_usd: usd().optional().meta({ description: 'What the provider charges' }),
    provider: externalId().optional().meta({ description: "By default the hold's" }),
    model: externalId().optional().meta({ description: "The model that ran; by default the hold's" }),
    usage: spendEventSchema.shape.usage,
    final: z.boolean().default(true).meta({ description: 'False: more is to come and the hold stays open; repeats are told apart by Idempotency-Key' }),
  })
  .refine((body) => body.cost_usd !== undefined || (body.usage !== undefined && body.usage !== null), { error: 'needs cost_usd or usage', path: ['cost_usd'] });

export const settledWire = z
  .object({
    hold: holdWire.meta({ description: 'As it is at this moment: it closes when the event is booked, a moment later' }),
    event: z.object({ id: z.string().nullable(), outcome: z.enum(['accepted', 'duplicate', 'corrected']), detail: z.string().optional() }),
  })
  .meta({ id: 'SettledHold' });

export const releaseBody = z.strictObject({}).optional();

export const extendBody = z
  .strictObject({
    output_tokens: count(MAX_TOKENS).optional().meta({ description: 'All the call may answer, not the rise' }),
    ttl_ms: z.int(`must be a whole number from 1 to ${MAX_TTL_MS}`).min(1).max(MAX_TTL_MS).optional().meta({ description: 'From now on; never shortens' }),
  })
  .refine((body) => body.output_tokens !== undefined || body.ttl_ms !== undefined, { error: 'needs output_tokens or ttl_ms', path: ['ttl_ms'] });
