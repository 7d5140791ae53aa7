/** Rows of metering.event: written once, with the poster's work item beside each. */
import { fromWireId, type Nano } from '#libs/kernel/index.js';
import { copyPlain, copyText, type CopyTable } from '#libs/platform/postgres/copy-in.js';
import type { Usage } from '#libs/pricing/index.js';
import { shardOf } from '../domain/shard.js';
import { QUALITY_RANK, type SpendStatus } from '../domain/spend-event.js';
import type { AdmittedReport, StoredEvent } from '../domain/stored-event.js';
import type { CommittedEvent } from '../memory/recent-events.js';

const COLUMNS = (
  'event_id received_at occurred_at source_id external_id tenant_id status quality usage cost_trusted ends_call ' +
  'provider model user_id feature environment request_id latency_ms'
).split(' ');
/** A batch in which nobody said any of these leaves the columns out, and pays nothing for them. */
const RARE_COLUMNS = (
  'claimed_cost_nano requested_model call_id hold_id corrects_event_id assistant_id thread_id api_key_id ttft_ms stream error tags ' + 'metadata'
).split(' ');

/** The events and their work items, to be written together. None for no rows. */
export function eventTables(rows: readonly CommittedEvent[]): CopyTable[] {
  if (rows.length === 0) return [];
  const receivedText = timeTexts();
  const rare = rows.some(hasRare);
  let events = '';
  let pending = '';
  for (const row of rows) {
    const { eventId, receivedAt, occurredAt, tenantId } = row.admitted;
    const received = receivedText(receivedAt);
    events += `${eventId}\t${received}\t${occurredAt.toISOString()}\t${lineOf(row.admitted)}${rare ? rareOf(row) : ''}\n`;
    pending += `${shardOf(tenantId)}\t${eventId}\t${received}\n`;
  }
  return [
    { table: 'metering.event', columns: rare ? [...COLUMNS, ...RARE_COLUMNS] : COLUMNS, rows: events },
    { table: 'metering.pending', columns: ['shard', 'event_id', 'received_at'], rows: pending },
  ];
}

// Written out, and not a list of columns that is gone through for every row: this is the largest part of what storing an event takes here.
function lineOf({ sourceId, tenantId, environment, costTrusted, report }: AdmittedReport): string {
  return (
    `${copyText(sourceId)}\t${copyText(report.externalId)}\t${copyText(tenantId)}\t${report.status}\t${QUALITY_RANK[report.quality]}\t` +
    `${copyJson(report.usage)}\t${costTrusted}\t${report.claimsCall}\t${copyText(report.provider)}\t${copyText(report.model)}\t` +
    `${copyText(report.userId)}\t${copyText(report.feature)}\t${copyText(environment)}\t${copyText(report.requestId)}\t${copyPlain(report.latencyMs)}`
  );
}

function rareOf({ admitted: { report }, correctsEventId }: CommittedEvent): string {
  return (
    `\t${copyPlain(report.claimedCostNano)}\t${copyText(report.requestedModel)}\t${copyText(report.callId)}\t` +
    `${copyPlain(report.holdId === null ? null : fromWireId('hold', report.holdId))}\t${copyPlain(correctsEventId)}\t${copyText(report.assistantId)}\t` +
    `${copyText(report.threadId)}\t${copyText(report.apiKeyId)}\t${copyPlain(report.ttftMs)}\t${copyPlain(report.stream)}\t${copyText(report.error)}\t` +
    `${copyJson(report.tags)}\t${copyJson(report.metadata)}`
  );
}

function hasRare({ admitted: { report }, correctsEventId }: CommittedEvent): boolean {
  const { claimedCostNano, requestedModel, callId, holdId, assistantId, threadId, apiKeyId, ttftMs, stream, error, tags, metadata } = report;
  return (
    (claimedCostNano ?? requestedModel ?? callId ?? holdId ?? assistantId ?? threadId ?? apiKeyId ?? ttftMs ?? stream ?? error ?? tags ?? metadata) !== null ||
    correctsEventId !== null
  );
}

function copyJson(value: object | null): string {
  return copyText(value === null ? null : JSON.stringify(value));
}

/** ISO texts; a request's events share one time of receipt. */
function timeTexts(): (at: Date) => string {
  let last = Number.NaN;
  let text = '';
  return (at) => {
    if (at.getTime() !== last) {
      last = at.getTime();
      text = at.toISOString();
    }
    return text;
  };
}

/** A row of metering.event as PostgreSQL answers it. */
export interface EventRow {
  event_id: string;
  received_at: Date;
  occurred_at: Date;
  source_id: string;
  external_id: string;
  tenant_id: string;
  status: SpendStatus;
  quality: number;
  usage: Usage | null;
  claimed_cost_nano: Nano | null;
  cost_trusted: boolean;
  provider: string | null;
  model: string | null;
  requested_model: string | null;
  call_id: string | null;
  hold_id: string | null;
  ends_call: boolean;
  corrects_event_id: string | null;
  user_id: string | null;
  feature: string | null;
  environment: string;
  assistant_id: string | null;
  thread_id: string | null;
  api_key_id: string | null;
  request_id: string | null;
  latency_ms: number | null;
  ttft_ms: number | null;
  stream: boolean | null;
  error: string | null;
  tags: Record<string, string> | null;
  metadata: Record<string, string | number | boolean> | null;
}

export function fromEventRow(row: EventRow): StoredEvent {
  return {
    eventId: row.event_id,
    receivedAt: row.received_at,
    occurredAt: row.occurred_at,
    sourceId: row.source_id,
    externalId: row.external_id,
    tenantId: row.tenant_id,
    status: row.status,
    quality: row.quality,
    usage: row.usage,
    claimedCostNano: row.claimed_cost_nano,
    costTrusted: row.cost_trusted,
    provider: row.provider,
    model: row.model,
    requestedModel: row.requested_model,
    callId: row.call_id,
    holdId: row.hold_id,
    endsCall: row.ends_call,
    correctsEventId: row.corrects_event_id,
    userId: row.user_id,
    feature: row.feature,
    environment: row.environment,
    assistantId: row.assistant_id,
    threadId: row.thread_id,
    apiKeyId: row.api_key_id,
    requestId: row.request_id,
    latencyMs: row.latency_ms,
    ttftMs: row.ttft_ms,
    stream: row.stream,
    error: row.error,
    tags: row.tags,
    metadata: row.metadata,
  };
}
