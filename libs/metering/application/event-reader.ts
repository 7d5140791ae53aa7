import type { Nano } from '#libs/kernel/index.js';
import type { StoredEvent } from '../domain/stored-event.js';

/** A line as it goes on the wire: money as decimal strings. */
export interface LineJson {
  readonly component: string;
  readonly quantity: number;
  readonly unit_price: string;
  readonly cost_usd: string;
  readonly charge_usd: string;
}

/** Filters by equality; absent means any. */
export interface EventFilter {
  readonly tenantId?: string | undefined;
  readonly userId?: string | undefined;
  readonly feature?: string | undefined;
  readonly environment?: string | undefined;
  readonly assistantId?: string | undefined;
  readonly threadId?: string | undefined;
  readonly apiKeyId?: string | undefined;
  readonly requestId?: string | undefined;
  readonly callId?: string | undefined;
  readonly provider?: string | undefined;
  readonly model?: string | undefined;
  readonly sourceId?: string | undefined;
  readonly externalId?: string | undefined;
  readonly status?: string | undefined;
  /** QUALITY_RANK */
  readonly quality?: number | undefined;
  /** occurred_at, half-open */
  readonly from?: Date | undefined;
  readonly to?: Date | undefined;
}

export interface PostingView {
  readonly revision: number;
  readonly state: 'posted' | 'quarantined' | 'reversed';
  readonly transactionId: string | null;
  readonly costNano: Nano;
  readonly chargeNano: Nano;
  readonly lines: readonly LineJson[];
  readonly priceVersion: string | null;
  readonly interval: { readonly from: Nano; readonly to: Nano } | null;
  readonly reason: string | null;
  /** Charged what was held for its call, until it can be rated; `reason` says what is missing. */
  readonly provisional: boolean;
  readonly postedAt: Date;
}

export interface EventView {
  readonly event: StoredEvent;
  /** Newest first; empty while the event waits to be posted. */
  readonly postings: readonly PostingView[];
}

/** Events as people look at them: what was reported, what was booked for it, and what waits. */
export abstract class EventReader {
  /** Newest received first, at most `limit`; `before` is the event id of the last row of the page before. Each with its newest posting. */
  abstract list(input: { filter: EventFilter; limit: number; before: string | null }): Promise<EventView[]>;
  /** One event with all its postings, or null; `tenantId` narrows to that tenant's events. */
  abstract get(input: { eventId: string; tenantId: string | null }): Promise<EventView | null>;
}
