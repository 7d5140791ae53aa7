/** Rows of metering.event: written once, with the poster's work item beside each. */
import { fromWireId, type Nano } from '#libs/kernel/index.js';
import { plainArray, textArray, timeArray } from '#libs/platform/postgres/array-literal.js';
import type { Sql } from '#libs/platform/postgres/database.js';
import type { Usage } from '#libs/pricing/index.js';
import { shardOf } from '../domain/shard.js';
import { QUALITY_RANK, type SpendStatus } from '../domain/spend-event.js';
import type { AdmittedReport, StoredEvent } from '../domain/stored-event.js';

const COLUMNS = `event_id, received_at, occurred_at, source_id, external_id, tenant_id, status, quality, usage, claimed_cost_nano, cost_trusted,
  provider, model, requested_model, call_id, hold_id, ends_call, corrects_event_id, user_id, feature, environment, assistant_id, thread_id, api_key_id,
  request_id, latency_ms, ttft_ms, stream, error, tags, metadata`;

const INSERT_EVENTS = {
  name: 'metering.insert-events',
  text: `INSERT INTO metering.event (${COLUMNS})
         SELECT * FROM unnest(
           $1::uuid[], $2::timestamptz[], $3::timestamptz[], $4::text[], $5::text[], $6::text[], $7::text[], $8::smallint[], $9::jsonb[], $10::bigint[], $11::boolean[],
           $12::text[], $13::text[], $14::text[], $15::text[], $16::uuid[], $17::boolean[], $18::uuid[], $19::text[], $20::text[], $21::text[], $22::text[], $23::text[],
           $24::text[], $25::text[], $26::integer[], $27::integer[], $28::boolean[], $29::text[], $30::jsonb[], $31::jsonb[])`,
};

const QUEUE_EVENTS = {
  name: 'metering.queue-events',
  text: `INSERT INTO metering.pending (shard, event_id, received_at) SELECT * FROM unnest($1::smallint[], $2::uuid[], $3::timestamptz[])`,
};

/** Writes events and their work items in the caller's transaction. */
export async function insertEvents(tx: Sql, rows: readonly { admitted: AdmittedReport; correctsEventId: string | null }[]): Promise<void> {
  if (rows.length === 0) return;
  const admitted = rows.map((row) => row.admitted);
  const reports = admitted.map((row) => row.report);
  const text = (pick: (report: AdmittedReport['report']) => string | null): string => textArray(reports.map(pick));
  const json = (pick: (report: AdmittedReport['report']) => object | null): string =>
    textArray(
      reports.map((report) => {
        const value = pick(report);
        return value === null ? null : JSON.stringify(value);
      }),
    );
  const ids = plainArray(admitted.map((row) => row.eventId));
  const receivedAt = timeArray(admitted.map((row) => row.receivedAt));
  await tx.execute(INSERT_EVENTS, [
    ids,
    receivedAt,
    timeArray(admitted.map((row) => row.occurredAt)),
    textArray(admitted.map((row) => row.sourceId)),
    text((report) => report.externalId),
    textArray(admitted.map((row) => row.tenantId)),
    text((report) => report.status),
    plainArray(reports.map((report) => QUALITY_RANK[report.quality])),
    json((report) => report.usage),
    plainArray(reports.map((report) => report.claimedCostNano)),
    plainArray(admitted.map((row) => row.costTrusted)),
    text((report) => report.provider),
    text((report) => report.model),
    text((report) => report.requestedModel),
    text((report) => report.callId),
    plainArray(reports.map((report) => (report.holdId === null ? null : fromWireId('hold', report.holdId)))),
    plainArray(reports.map((report) => report.claimsCall)),
    plainArray(rows.map((row) => row.correctsEventId)),
    text((report) => report.userId),
    text((report) => report.feature),
    textArray(admitted.map((row) => row.environment)),
    text((report) => report.assistantId),
    text((report) => report.threadId),
    text((report) => report.apiKeyId),
    text((report) => report.requestId),
    plainArray(reports.map((report) => report.latencyMs)),
    plainArray(reports.map((report) => report.ttftMs)),
    plainArray(reports.map((report) => report.stream)),
    text((report) => report.error),
    json((report) => report.tags),
    json((report) => report.metadata),
  ]);
  await tx.execute(QUEUE_EVENTS, [plainArray(admitted.map((row) => shardOf(row.tenantId))), ids, receivedAt]);
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
