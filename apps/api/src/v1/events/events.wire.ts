import type { z } from 'zod';
import { formatUsd, toWireId, type Nano } from '#libs/kernel/index.js';
import { QUALITY_RANK, type EventView, type PostingView, type RecordedEvents } from '#libs/metering/index.js';
import type { eventDetailWire, eventWire, recordedEvents } from './events.schemas.js';

const QUALITY_NAMES = new Map(Object.entries(QUALITY_RANK).map(([name, rank]) => [rank, name]));

export function toRecordedWire(recorded: RecordedEvents, all: boolean): z.infer<typeof recordedEvents> {
  const { counts } = recorded;
  return {
    accepted: counts.accepted,
    duplicates: counts.duplicate,
    corrected: counts.corrected,
    conflicts: counts.conflict,
    rejected: counts.rejected,
    results: recorded.items.flatMap((item, index) =>
      item.outcome === 'accepted' && !all
        ? []
        : [
            {
              index,
              event_id: item.externalId,
              id: item.eventId === null ? null : toWireId('evt', item.eventId),
              outcome: item.outcome,
              ...(item.code === undefined ? {} : { code: item.code }),
              ...(item.detail === undefined ? {} : { detail: item.detail }),
            },
          ],
    ),
  };
}

export function toEventWire({ event, postings }: EventView): z.infer<typeof eventWire> {
  const posting = postings[0];
  const booked = posting && posting.state !== 'quarantined';
  return {
    id: toWireId('evt', event.eventId),
    event_id: event.externalId,
    source: event.sourceId,
    tenant_id: event.tenantId,
    occurred_at: event.occurredAt.toISOString(),
    received_at: event.receivedAt.toISOString(),
    posted_at: booked ? posting.postedAt.toISOString() : null,
    state: posting?.state ?? 'pending',
    state_reason: posting?.reason ?? null,
    status: event.status,
    // The usage is as good as it was reported, but the money is what was held.
    usage_quality: posting?.provisional ? 'hold' : (QUALITY_NAMES.get(event.quality) ?? 'unknown'),
    usage: event.usage,
    provider: event.provider,
    model: event.model,
    requested_model: event.requestedModel,
    reported_cost_usd: usdOrNull(event.claimedCostNano),
    cost_usd: booked ? formatUsd(posting.costNano) : null,
    charge_usd: booked ? formatUsd(posting.chargeNano) : null,
    lines: booked ? [...posting.lines] : [],
    price_version: posting?.priceVersion ?? null,
    transaction_id: posting?.transactionId ? toWireId('txn', posting.transactionId) : null,
    corrects: event.correctsEventId === null ? null : toWireId('evt', event.correctsEventId),
    call_id: event.callId,
    hold_id: event.holdId === null ? null : toWireId('hold', event.holdId),
    user_id: event.userId,
    feature: event.feature,
    environment: event.environment,
    assistant_id: event.assistantId,
    thread_id: event.threadId,
    api_key_id: event.apiKeyId,
    request_id: event.requestId,
    latency_ms: event.latencyMs,
    ttft_ms: event.ttftMs,
    stream: event.stream,
    error: event.error,
    tags: event.tags === null ? null : { ...event.tags },
    metadata: event.metadata === null ? null : { ...event.metadata },
  };
}

export function toEventDetailWire(
  view: EventView,
  slices: readonly { account: string; lotId: string | null; amountNano: Nano }[],
): z.infer<typeof eventDetailWire> {
  return {
    ...toEventWire(view),
    postings: view.postings.map(toPostingWire),
    lots: slices.map((slice) => ({
      account: slice.account,
      lot_id: slice.lotId === null ? null : toWireId('lot', slice.lotId),
      amount_usd: formatUsd(slice.amountNano),
    })),
  };
}

function toPostingWire(posting: PostingView): z.infer<typeof eventDetailWire>['postings'][number] {
  return {
    revision: posting.revision,
    state: posting.state,
    transaction_id: posting.transactionId === null ? null : toWireId('txn', posting.transactionId),
    cost_usd: formatUsd(posting.costNano),
    charge_usd: formatUsd(posting.chargeNano),
    price_version: posting.priceVersion,
    reason: posting.reason,
    posted_at: posting.postedAt.toISOString(),
  };
}

function usdOrNull(nano: Nano | null): string | null {
  return nano === null ? null : formatUsd(nano);
}
