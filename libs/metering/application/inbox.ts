import type { AdmittedReport, DeadLetterDraft } from '../domain/stored-event.js';

export type RecordOutcome = 'accepted' | 'duplicate' | 'corrected' | 'conflict' | 'rejected';

/** One item of a request on its way into the inbox: an admitted report with the dead letter it would become in a conflict, or a refusal. */
export type InboxEntry = ReportEntry | RefusedEntry;

export interface ReportEntry {
  readonly kind: 'report';
  readonly admitted: AdmittedReport;
  /** Null where a conflict needs no keeping. */
  readonly asDeadLetter: () => DeadLetterDraft | null;
}

export interface RefusedEntry {
  readonly kind: 'refused';
  readonly deadLetter: DeadLetterDraft;
}

/** What became of one entry. `eventId` is the event that stands for it, whichever delivery brought it. */
export interface InboxResult {
  readonly outcome: RecordOutcome;
  readonly eventId: string | null;
  readonly tenantId: string | null;
  readonly code?: string;
  readonly detail?: string;
}

/** What a refused entry answers. */
export function refusedResult(entry: RefusedEntry): InboxResult {
  return { outcome: 'rejected', eventId: null, tenantId: null, code: entry.deadLetter.code, detail: entry.deadLetter.detail };
}

/**
 * The durable inbox. `write` returns after the commit: what it answers survives the death of any process (invariant E1).
 * Results are in the order of the entries. @throws DomainError storage.unavailable; then nothing was stored.
 */
export abstract class EventInbox {
  abstract write(entries: readonly InboxEntry[]): Promise<InboxResult[]>;
}
