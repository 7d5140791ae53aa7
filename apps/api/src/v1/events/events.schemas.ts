import { z } from 'zod';
import { QUALITY_RANK, spendEventSchema, type UsageQuality } from '#libs/metering/index.js';
import { externalId, page, period } from '../../http/schemas.js';

const QUALITIES = Object.keys(QUALITY_RANK) as [UsageQuality, ...UsageQuality[]];

/** One event or an array of at most 5,000. Documentation only: items are judged one by one, so that a bad one refuses no neighbour. */
export const recordEventsBody = z.union([spendEventSchema, z.array(spendEventSchema).max(5_000)]);

export const recordEventsQuery = z.strictObject({
  results: z.enum(['problems', 'all']).default('problems').meta({ description: '`all` lists the plainly accepted events too' }),
});

export const recordedEvents = z
  .object({
    accepted: z.int(),
    duplicates: z.int(),
    corrected: z.int(),
    conflicts: z.int(),
    rejected: z.int(),
    results: z.array(
      z.object({
        index: z.int(),
        event_id: z.string().nullable(),
        id: z.string().nullable().meta({ description: 'Our id of the event that stands, for GET /v1/events/{id}' }),
        outcome: z.enum(['accepted', 'duplicate', 'corrected', 'conflict', 'rejected']),
        code: z.string().optional(),
        detail: z.string().optional(),
      }),
    ),
  })
  .meta({ id: 'RecordedEvents' });

export const listEventsQuery = z.strictObject({
  ...page,
  ...period,
  tenant_id: externalId().optional(),
  user_id: externalId().optional(),
  feature: externalId().optional(),
  environment: externalId().optional(),
  assistant_id: externalId().optional(),
  thread_id: externalId().optional(),
  api_key_id: externalId().optional(),
  request_id: externalId().optional(),
  call_id: externalId().optional(),
  event_id: externalId().optional(),
  provider: externalId().optional(),
  model: externalId().optional(),
  source: externalId().optional(),
  status: z.enum(['success', 'error', 'cancelled', 'blocked']).optional(),
  quality: z.enum(QUALITIES).optional(),
});

const line = z.object({ component: z.string(), quantity: z.number(), unit_price: z.string(), cost_usd: z.string(), charge_usd: z.string() });

export const eventWire = z
  .object({
    id: z.string(),
    event_id: z.string(),
    source: z.string(),
    tenant_id: z.string(),
    occurred_at: z.string(),
    received_at: z.string(),
    posted_at: z.string().nullable(),
    state: z.enum(['pending', 'posted', 'quarantined', 'reversed']),
    state_reason: z.string().nullable(),
    status: z.string(),
    usage_quality: z.string(),
    usage: z.record(z.string(), z.unknown()).nullable(),
    provider: z.string().nullable(),
    model: z.string().nullable(),
    requested_model: z.string().nullable(),
    reported_cost_usd: z.string().nullable().meta({ description: 'What the sender says the provider charges' }),
    cost_usd: z.string().nullable().meta({ description: 'Null until the event is posted' }),
    charge_usd: z.string().nullable().meta({ description: 'What the tenant pays; null until the event is posted' }),
    lines: z.array(line),
    price_version: z.string().nullable(),
    transaction_id: z.string().nullable(),
    corrects: z.string().nullable(),
    call_id: z.string().nullable(),
    hold_id: z.string().nullable(),
    user_id: z.string().nullable(),
    feature: z.string().nullable(),
    environment: z.string(),
    assistant_id: z.string().nullable(),
    thread_id: z.string().nullable(),
    api_key_id: z.string().nullable(),
    request_id: z.string().nullable(),
    latency_ms: z.int().nullable(),
    ttft_ms: z.int().nullable(),
    stream: z.boolean().nullable(),
    error: z.string().nullable(),
    tags: z.record(z.string(), z.string()).nullable(),
    metadata: z.record(z.string(), z.unknown()).nullable(),
  })
  .meta({ id: 'Event' });

export const eventDetailWire = eventWire
  .extend({
    postings: z.array(
      z.object({
        revision: z.int(),
        state: z.string(),
        transaction_id: z.string().nullable(),
        cost_usd: z.string(),
        charge_usd: z.string(),
        price_version: z.string().nullable(),
        reason: z.string().nullable(),
        posted_at: z.string(),
      }),
    ),
    lots: z
      .array(z.object({ account: z.string(), lot_id: z.string().nullable(), amount_usd: z.string() }))
      .meta({ description: 'What paid for it: slices of lots, then of the receivable, in burn order' }),
  })
  .meta({ id: 'EventDetail' });
