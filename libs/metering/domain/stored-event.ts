import type { Nano } from '#libs/kernel/index.js';
import type { Usage } from '#libs/pricing/index.js';
import type { SpendReport, SpendStatus } from './spend-event.js';

/** A report that was admitted: it has our id, a tenant and its defaults, and is ready to be written. */
export interface AdmittedReport {
  readonly eventId: string;
  readonly receivedAt: Date;
  readonly occurredAt: Date;
  readonly sourceId: string;
  readonly boundTenantId: string | null;
  readonly tenantId: string;
  readonly environment: string;
  readonly costTrusted: boolean;
  readonly report: SpendReport;
}

/** What booking needs of an event. The rest of it is for people to look at, and not read by the poster. */
export interface PostableEvent {
  readonly eventId: string;
  readonly receivedAt: Date;
  readonly occurredAt: Date;
  readonly sourceId: string;
  readonly tenantId: string;
  readonly status: SpendStatus;
  readonly usage: Usage | null;
  readonly claimedCostNano: Nano | null;
  readonly costTrusted: boolean;
  readonly provider: string | null;
  readonly model: string | null;
  readonly requestedModel: string | null;
  readonly callId: string | null;
  readonly holdId: string | null;
  /** Whether it tells how the call ended: false for a failed attempt and for a settle that is not the last. */
  readonly endsCall: boolean;
  readonly correctsEventId: string | null;
  readonly userId: string | null;
  readonly feature: string | null;
  readonly environment: string;
  readonly assistantId: string | null;
  readonly threadId: string | null;
  readonly apiKeyId: string | null;
  readonly requestId: string | null;
  readonly tags: Readonly<Record<string, string>> | null;
}

/** An event as it is stored: insert only. */
export interface StoredEvent extends PostableEvent {
  readonly externalId: string;
  /** QUALITY_RANK */
  readonly quality: number;
  readonly latencyMs: number | null;
  readonly ttftMs: number | null;
  readonly stream: boolean | null;
  readonly error: string | null;
  readonly metadata: Readonly<Record<string, string | number | boolean>> | null;
}

/** An item that could not be accepted, without prompts; `keptEventId` is set for a conflict. */
export interface DeadLetterDraft {
  readonly deadLetterId: string;
  readonly receivedAt: Date;
  readonly sourceId: string;
  readonly tenantId: string | null;
  readonly externalId: string | null;
  readonly code: string;
  readonly path: string | null;
  readonly detail: string;
  /** JSON text of the stripped item, at most 16 KiB. */
  readonly item: string;
  readonly keptEventId: string | null;
}
