/**
 * What becomes of a report whose event id or call was heard of before. Quality decides first, money second:
 * a better figure corrects, a worse one changes nothing, and equal quality with other money is a conflict in which the first stays.
 */

/** What is known of the event id or the call so far: its best report. */
export interface KnownReport {
  readonly eventId: string;
  /** QUALITY_RANK of the best report so far. */
  readonly quality: number;
  /** Hex digest of what it said. */
  readonly hash: string;
}

export type Resolution =
  | { readonly outcome: 'accepted' }
  | { readonly outcome: 'duplicate'; readonly keptEventId: string; readonly code: 'event.duplicate' | 'event.lower_quality' }
  | { readonly outcome: 'corrected'; readonly correctsEventId: string }
  | { readonly outcome: 'conflict'; readonly keptEventId: string };

/** Compares a report of rank `quality` and content `hash` with what is known. Pure; total. */
export function resolveAgainst(known: KnownReport, report: { readonly quality: number; readonly hash: string }): Resolution {
  if (known.hash === report.hash) return { outcome: 'duplicate', keptEventId: known.eventId, code: 'event.duplicate' };
  if (report.quality > known.quality) return { outcome: 'corrected', correctsEventId: known.eventId };
  if (report.quality < known.quality) return { outcome: 'duplicate', keptEventId: known.eventId, code: 'event.lower_quality' };
  return { outcome: 'conflict', keptEventId: known.eventId };
}

/**
 * Whether two reports that share a caller-chosen call id are the same provider call. Two provider response ids that differ prove that
 * they are not: otherwise a client that sends one call id with every request would pay for the first alone.
 */
export function isSameCall(known: string | null, report: string | null): boolean {
  return known === null || report === null || known === report;
}
