/**
 * Takes the items of one request to the inbox: read, check the window, find the tenant, write, answer per item.
 * A refused item never refuses its neighbours; it becomes a dead letter in the same commit. Nothing is answered before the commit.
 */
import { isExternalId, newUuid, type Clock, type Json } from '#libs/kernel/index.js';
import { UNKNOWN_TENANT_ID, type Caller, type TenantDirectory } from '#libs/tenancy/index.js';
import { checkWindow, chooseTenant, type Refusal, type TenantChoice } from '../domain/admission.js';
import { shardOf } from '../domain/shard.js';
import type { Source } from '../domain/source.js';
import type { ReadOutcome, SpendReport } from '../domain/spend-event.js';
import type { AdmittedReport, DeadLetterDraft } from '../domain/stored-event.js';
import { readItem, stripItem } from '../gateways/read-item.js';
import type { GroupCommit } from './group-commit.js';
import { refusedResult, type InboxEntry, type InboxResult, type RecordOutcome } from './inbox.js';
import type { SpendWakeUp } from '#libs/platform/queue/spend-wake-up.js';

export const MAX_EVENTS_PER_CALL = 5_000;
const DEAD_LETTER_ITEM_BYTES = 16_384;
const DEFAULT_ENVIRONMENT = 'prod';

export interface RecordedItem extends InboxResult {
  /** The sender's event id, where it could be read. */
  readonly externalId: string | null;
}

export interface RecordedEvents {
  readonly counts: Readonly<Record<RecordOutcome, number>>;
  /** In the order of the items. */
  readonly items: readonly RecordedItem[];
}

export class RecordEvents {
  constructor(
    private readonly groupCommit: GroupCommit,
    private readonly tenants: TenantDirectory,
    private readonly wakeUp: SpendWakeUp,
    private readonly clock: Clock,
    private readonly settings: { readonly eventMaxAgeDays: number },
  ) {}

  /**
   * @param input.replay the items are dead letters already: what is refused again is answered, not kept a second time
   * @param input.items at most {@link MAX_EVENTS_PER_CALL} parsed JSON values of `source`'s gateway
   * @throws DomainError storage.unavailable, ingest.overloaded: nothing was stored
   */
  async execute(input: { caller: Pick<Caller, 'tenantId'>; source: Source; items: readonly Json[]; replay?: boolean }): Promise<RecordedEvents> {
    return await this.record({ ...input, outcomes: input.items.map((item) => readItem(input.source, item)) });
  }

  /**
   * Records reports that we made ourselves (a settle, the charge of an unresolved hold), under the same rules and in the same inbox.
   * @throws DomainError storage.unavailable, ingest.overloaded: nothing was stored
   */
  async executeReports(input: { source: Source; reports: readonly SpendReport[] }): Promise<RecordedEvents> {
    const outcomes = input.reports.map((report) => ({ ok: true as const, report }));
    return await this.record({
      source: input.source,
      caller: { tenantId: null },
      outcomes,
      items: input.reports.map((report) => ({ event_id: report.externalId })),
    });
  }

  private async record(input: {
    caller: Pick<Caller, 'tenantId'>;
    source: Source;
    items: readonly Json[];
    outcomes: readonly ReadOutcome[];
    replay?: boolean;
  }): Promise<RecordedEvents> {
    const receivedAt = this.clock.now();
    const { outcomes } = input;
    const tenantFor = await this.findTenants(input.source, input.caller.tenantId, outcomes);
    const entries = outcomes.map((outcome, index) => {
      const item = input.items[index] ?? null;
      const refuse = (refusal: Refusal, externalId: string | null): InboxEntry => ({
        kind: 'refused',
        deadLetter: deadLetterOf({ source: input.source, item, receivedAt, tenantId: input.caller.tenantId, externalId, refusal }),
      });
      if (!outcome.ok) return refuse(outcome, outcome.externalId);
      const { report } = outcome;
      const occurredAt = report.occurredAt ?? receivedAt;
      const outside = checkWindow(occurredAt, receivedAt, this.settings.eventMaxAgeDays);
      if (outside) return refuse(outside, report.externalId);
      const choice = tenantFor(report);
      if (choice.kind === 'refused') return refuse(choice.refusal, report.externalId);
      const admitted = admit({ report, occurredAt, receivedAt, source: input.source, boundTenantId: input.caller.tenantId, choice });
      return {
        kind: 'report' as const,
        admitted,
        asDeadLetter: () =>
          input.replay
            ? null
            : deadLetterOf({
                source: input.source,
                item,
                receivedAt,
                tenantId: admitted.tenantId,
                externalId: report.externalId,
                refusal: { code: 'event.conflict', path: '', message: 'recorded before with other figures; the first stays' },
              }),
      };
    });
    const results = input.replay && entries.every((entry) => entry.kind === 'refused') ? entries.map(refusedResult) : await this.groupCommit.write(entries);
    this.wakePosters(results);
    return summarize(results, entries);
  }

  private async findTenants(source: Source, boundTenantId: string | null, outcomes: readonly ReadOutcome[]): Promise<(report: SpendReport) => TenantChoice> {
    const named = new Set<string>();
    if (boundTenantId === null) {
      for (const outcome of outcomes) if (outcome.ok && outcome.report.tenantId !== null) named.add(outcome.report.tenantId);
    }
    const registered = new Set((await this.tenants.findMany([...named])).keys());
    const missing = [...named].filter((tenantId) => !registered.has(tenantId));
    if (missing.length > 0 && source.trustTenant && source.onNewTenant === 'create') {
      for (const created of await this.tenants.createFromEvents(missing)) registered.add(created);
    }
    return (report) => {
      const choice = chooseTenant(report, boundTenantId, (tenantId) => registered.has(tenantId));
      if (choice.kind === 'unregistered' && source.trustTenant && source.onNewTenant === 'block') {
        return {
          kind: 'refused',
          refusal: { code: 'tenant.unknown', path: 'tenant_id', message: 'must be a registered tenant: this source does not create tenants' },
        };
      }
      return choice;
    };
  }

  private wakePosters(results: readonly InboxResult[]): void {
    const shards = new Set<number>();
    for (const result of results) {
      if ((result.outcome === 'accepted' || result.outcome === 'corrected') && result.tenantId !== null) shards.add(shardOf(result.tenantId));
    }
    if (shards.size > 0) this.wakeUp.wake([...shards]);
  }
}

function admit(input: {
  report: SpendReport;
  occurredAt: Date;
  receivedAt: Date;
  source: Source;
  boundTenantId: string | null;
  choice: Exclude<TenantChoice, { kind: 'refused' }>;
}): AdmittedReport {
  const { report, source, choice } = input;
  return {
    eventId: newUuid(input.receivedAt),
    receivedAt: input.receivedAt,
    occurredAt: input.occurredAt,
    sourceId: source.sourceId,
    boundTenantId: input.boundTenantId,
    tenantId: choice.kind === 'tenant' ? choice.tenantId : UNKNOWN_TENANT_ID,
    environment: report.environment ?? source.defaults.environment ?? DEFAULT_ENVIRONMENT,
    costTrusted: source.trustCost,
    // Who the sender named is kept, so that an operator can move the spend once the tenant is registered.
    report: choice.kind === 'unregistered' ? { ...report, metadata: { ...report.metadata, claimed_tenant_id: choice.tenantId } } : report,
  };
}

function deadLetterOf(input: {
  source: Source;
  item: Json;
  receivedAt: Date;
  tenantId: string | null;
  externalId: string | null;
  refusal: Refusal;
}): DeadLetterDraft {
  const text = JSON.stringify(stripItem(input.source.gateway, input.item)) ?? 'null';
  return {
    deadLetterId: newUuid(input.receivedAt),
    receivedAt: input.receivedAt,
    sourceId: input.source.sourceId,
    tenantId: input.tenantId,
    // Names come from the sender: what PostgreSQL could not store is left out rather than failing the batch.
    externalId: input.externalId !== null && isExternalId(input.externalId) ? input.externalId : null,
    code: input.refusal.code,
    path: input.refusal.path === '' ? null : printable(input.refusal.path),
    detail: input.refusal.message,
    item: text.length <= DEAD_LETTER_ITEM_BYTES ? text : JSON.stringify({ too_large_to_keep: text.length }),
    keptEventId: null,
  };
}

function printable(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, '?').slice(0, 256);
}

function summarize(results: readonly InboxResult[], entries: readonly InboxEntry[]): RecordedEvents {
  const counts: Record<RecordOutcome, number> = { accepted: 0, duplicate: 0, corrected: 0, conflict: 0, rejected: 0 };
  const items = results.map((result, index) => {
    counts[result.outcome] += 1;
    const entry = entries[index];
    const externalId = entry?.kind === 'report' ? entry.admitted.report.externalId : (entry?.deadLetter.externalId ?? null);
    const detail = entry?.kind === 'refused' && entry.deadLetter.path !== null ? `${entry.deadLetter.path}: ${entry.deadLetter.detail}` : result.detail;
    return { ...result, externalId, ...(detail === undefined ? {} : { detail }) };
  });
  return { counts, items };
}
