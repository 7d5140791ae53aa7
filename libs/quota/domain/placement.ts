/** Where a booked event counts: when its call was asked for and what was said about it. Its period follows from that, not from when it was booked (H8). */
import { timeOfUuid } from '#libs/kernel/index.js';
import type { SpendMovement } from '#libs/metering/index.js';
import type { Attributes } from './budget.js';

export interface Placement {
  readonly atMs: number;
  readonly call: Attributes;
}

/** Where an event counts by what it says itself. */
export function ownPlace(event: Omit<SpendMovement, 'sign' | 'costNano' | 'chargeNano' | 'tenantSeq'>): Placement {
  return {
    atMs: (event.holdId === null ? event.occurredAt : timeOfUuid(event.holdId)).getTime(),
    call: {
      tenant_id: event.tenantId,
      user_id: event.userId,
      feature: event.feature,
      environment: event.environment,
      assistant_id: event.assistantId,
      thread_id: event.threadId,
      request_id: event.requestId,
      api_key_id: event.apiKeyId,
      model: event.model,
      provider: event.provider,
      source: event.sourceId,
      tags: event.tags,
    },
  };
}
