/** Rows of metering.event: written once, with the poster's work item beside each. */
import { fromWireId, type Nano } from '#libs/kernel/index.js';
import { copyPlain, copyText, type CopyTable } from '#libs/platform/postgres/copy-in.js';
import type { Usage } from '#libs/pricing/index.js';
import { shardOf } from '../domain/shard.js';
import { QUALITY_RANK, type SpendStatus } from '../domain/spend-event.js';
import type { AdmittedReport, StoredEvent } from '../domain/stored-event.js';

export interface NewEvent {
  readonly admitted: AdmittedReport;
  readonly correctsEventId: string | null;
}

type Report = AdmittedReport['report'];
type Column = readonly [name: string, value: (row: NewEvent) => string];

const textColumn = (name: string, pick: (report: Report) => string | null): Column => [name, ({ admitted }) => copyText(pick(admitted.report))];
const plainColumn = (name: string, pick: (report: Report) => number | bigint | boolean | string | null): Column => [
  name,
  ({ admitted }) => copyPlain(pick(admitted.report)),
];
const jsonColumn = (name: string, pick: (report: Report) => object | null): Column => [
  name,
  ({ admitted }) => {
    const value = pick(admitted.report);
    return value === null ? NULL : copyText(JSON.stringify(value));
  },
];

const NULL = copyPlain(null);

/** Every event has these. */
const FIXED: readonly Column[] = [
  ['event_id', ({ admitted }) => admitted.eventId],
  ['received_at', ({ admitted }) => admitted.receivedAt.toISOString()],
  ['occurred_at', ({ admitted }) => admitted.occurredAt.toISOString()],
  ['source_id', ({ admitted }) => copyText(admitted.sourceId)],
  textColumn('external_id', (report) => report.externalId),
  ['tenant_id', ({ admitted }) => copyText(admitted.tenantId)],
  textColumn('status', (report) => report.status),
  plainColumn('quality', (report) => QUALITY_RANK[report.quality]),
  ['cost_trusted', ({ admitted }) => copyPlain(admitted.costTrusted)],
  plainColumn('ends_call', (report) => report.claimsCall),
  ['environment', ({ admitted }) => copyText(admitted.environment)],
];

/** A batch in which nobody said one of these leaves its column out, and pays nothing for it. */
const OPTIONAL: readonly Column[] = [
  jsonColumn('usage', (report) => report.usage),
  plainColumn('claimed_cost_nano', (report) => report.claimedCostNano),
  textColumn('provider', (report) => report.provider),
  textColumn('model', (report) => report.model),
  textColumn('requested_model', (report) => report.requestedModel),
  textColumn('call_id', (report) => report.callId),
  plainColumn('hold_id', (report) => (report.holdId === null ? null : fromWireId('hold', report.holdId))),
  ['corrects_event_id', ({ correctsEventId }) => copyPlain(correctsEventId)],
  textColumn('user_id', (report) => report.userId),
  textColumn('feature', (report) => report.feature),
  textColumn('assistant_id', (report) => report.assistantId),
  textColumn('thread_id', (report) => report.threadId),
  textColumn('api_key_id', (report) => report.apiKeyId),
  textColumn('request_id', (report) => report.requestId),
  plainColumn('latency_ms', (report) => report.latencyMs),
  plainColumn('ttft_ms', (report) => report.ttftMs),
  plainColumn('stream', (report) => report.stream),
  textColumn('error', (report) => report.error),
  jsonColumn('tags', (report) => report.tags),
  jsonColumn('metadata', (report) => report.metadata),
];

/** The events and their work items, to be written together. None for no rows. */
export function eventTables(rows: readonly NewEvent[]): CopyTable[] {
  if (rows.length === 0) return [];
  const columns = [...FIXED, ...OPTIONAL.filter(([, value]) => rows.some((row) => value(row) !== NULL))];
  let events = '';
  let pending = '';
  for (const row of rows) {
    let line = '';
    for (const [, value] of columns) line += `${line === '' ? '' : '\t'}${value(row)}`;
    events += `${line}\n`;
    const { tenantId, eventId, receivedAt } = row.admitted;
    pending += `${shardOf(tenantId)}\t${eventId}\t${receivedAt.toISOString()}\n`;
  }
  return [
    { table: 'metering.event', columns: columns.map(([name]) => name), rows: events },
    { table: 'metering.pending', columns: ['shard', 'event_id', 'received_at'], rows: pending },
  ];
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
