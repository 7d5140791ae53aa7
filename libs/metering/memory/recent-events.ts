/**
 * What this process has committed and not posted yet, so that a poster in the same process need not read it back: an event is written once
 * and never changed, hence a copy of it is as good as its row. What has to be posted says the work list in PostgreSQL alone; an event that
 * is not here (another process took it in, this one was started anew, a posting was rolled back, the memory is full) is read from its row.
 */
import { fromWireId, MINUTE_MS } from '#libs/kernel/index.js';
import type { AdmittedReport, PostableEvent } from '../domain/stored-event.js';

export interface CommittedEvent {
  readonly admitted: AdmittedReport;
  readonly correctsEventId: string | null;
}

/** At some two kilobytes each, 40 MB; more than the poster leaves waiting. */
const MAX_EVENTS = 20_000;
/** Posted by another process by now. */
const FORGET_AFTER_MS = MINUTE_MS;

export class RecentEvents {
  private readonly events = new Map<string, CommittedEvent>();
  private wanted = false;

  constructor(private readonly maxEvents: number = MAX_EVENTS) {}

  get isEmpty(): boolean {
    return this.events.size === 0;
  }

  /** Somebody posts in this process: from now on events are kept for him. */
  want(): void {
    this.wanted = true;
  }

  /** Call after the commit. The oldest are posted first, so what does not fit any more is the newest. */
  keep(committed: readonly CommittedEvent[]): void {
    if (!this.wanted) return;
    for (const event of committed) {
      if (this.events.size >= this.maxEvents && !this.makeRoom(event.admitted.receivedAt)) return;
      this.events.set(event.admitted.eventId, event);
    }
  }

  /** The event as it was committed, once; undefined when it has to be read. */
  take(eventId: string): PostableEvent | undefined {
    const event = this.events.get(eventId);
    if (event === undefined) return undefined;
    this.events.delete(eventId);
    return postableOf(event);
  }

  private makeRoom(now: Date): boolean {
    for (const [eventId, { admitted }] of this.events) {
      if (now.getTime() - admitted.receivedAt.getTime() < FORGET_AFTER_MS) break;
      this.events.delete(eventId);
    }
    return this.events.size < this.maxEvents;
  }
}

/** As its row would be read. */
function postableOf({ admitted, correctsEventId }: CommittedEvent): PostableEvent {
  const { report } = admitted;
  return {
    eventId: admitted.eventId,
    receivedAt: admitted.receivedAt,
    occurredAt: admitted.occurredAt,
    sourceId: admitted.sourceId,
    tenantId: admitted.tenantId,
    status: report.status,
    usage: report.usage,
    claimedCostNano: report.claimedCostNano,
    costTrusted: admitted.costTrusted,
    provider: report.provider,
    model: report.model,
    requestedModel: report.requestedModel,
    callId: report.callId,
    holdId: report.holdId === null ? null : fromWireId('hold', report.holdId),
    endsCall: report.claimsCall,
    correctsEventId,
    userId: report.userId,
    feature: report.feature,
    environment: admitted.environment,
    assistantId: report.assistantId,
    threadId: report.threadId,
    apiKeyId: report.apiKeyId,
    requestId: report.requestId,
    tags: report.tags,
  };
}
