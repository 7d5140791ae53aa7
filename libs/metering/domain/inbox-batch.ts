/**
 * Decides a whole micro-batch of reports in arrival order, given what the database knows of their event ids and calls.
 * Pure: the adapter claims rows, feeds the rivals in, and writes out what moved. Guarantees: of all reports of one event id or call, in
 * this batch or before it, exactly one stands; claims of a report that does not stand never point at an event that was not stored.
 */
import { InvariantError } from '#libs/kernel/index.js';
import { callKeyDigest, contentHash, eventKeyDigest, figuresHash, type CallKeyKind } from './identity.js';
import { isSameCall, resolveAgainst, type KnownReport, type Resolution } from './resolve-report.js';
import { QUALITY_RANK } from './spend-event.js';
import type { AdmittedReport } from './stored-event.js';

export interface Candidate {
  readonly admitted: AdmittedReport;
  readonly key: string;
  readonly keyHash: string;
  readonly quality: number;
  readonly callKeys: readonly CallKey[];
  readonly figures: string;
}

/** One name a call goes by. Two reports under one name are two calls where both have a discriminator and these differ. */
export interface CallKey {
  /** Hex digest. */
  readonly name: string;
  readonly discriminator: string | null;
}

export interface KnownCall extends KnownReport {
  readonly discriminator: string | null;
}

export function toCandidate(admitted: AdmittedReport): Candidate {
  const { report, tenantId } = admitted;
  const callKey = (kind: CallKeyKind, value: string | null, discriminator: string | null): CallKey[] => {
    if (!report.claimsCall || value === null) return [];
    return [{ name: callKeyDigest({ tenantId, kind, value }), discriminator }];
  };
  const byResponse = callKey('response', report.providerResponseId, null);
  // A call id may be reused by a careless client: the provider's response tells the calls apart. A hold may cover several calls of one
  // agent: their call ids do.
  const byCallId = callKey('call_id', report.callId, byResponse[0]?.name ?? null);
  const byHold = callKey('hold', report.holdId, byCallId[0]?.name ?? null);
  const callKeys = [...byResponse, ...byCallId, ...byHold];
  const key = eventKeyDigest({ sourceId: admitted.sourceId, boundTenantId: admitted.boundTenantId, externalId: report.externalId });
  return {
    admitted,
    key,
    keyHash: contentHash(report),
    quality: QUALITY_RANK[report.quality],
    callKeys,
    // Only reports of one call are compared by their figures alone.
    figures: callKeys.length === 0 ? '' : figuresHash(report),
  };
}

export class InboxBatch {
  /** Best report by event id and by call: what the database knows, then what this batch adds. */
  readonly keys: Map<string, KnownReport>;
  readonly calls = new Map<string, KnownCall>();
  readonly movedKeys = new Set<string>();
  readonly movedCalls = new Set<string>();
  readonly droppedCalls = new Set<string>();
  private readonly byKey: Resolution[];

  /** `rivalKeys`: what the database knows of those candidates' event ids that it did not just insert. */
  constructor(
    private readonly candidates: readonly Candidate[],
    rivalKeys: ReadonlyMap<string, KnownReport>,
  ) {
    this.keys = new Map(rivalKeys);
    this.byKey = candidates.map((candidate) => this.resolveByKey(candidate));
  }

  /** Those whose event id does not settle the matter: they compete for their calls, in arrival order. */
  contenders(): Candidate[] {
    return this.candidates.filter((_, index) => this.standsByKey(index));
  }

  /**
   * The outcome of every candidate, in order. `rivalCalls`: calls the database knew before; `tenantOf`: tenants of the events that a
   * report may correct.
   */
  resolve(rivalCalls: ReadonlyMap<string, KnownCall>, tenantOf: ReadonlyMap<string, string>): Resolution[] {
    for (const [name, known] of rivalCalls) this.calls.set(name, known);
    const tenants = new Map(tenantOf);
    return this.candidates.map((candidate, index) => {
      const byKey = this.byKey[index];
      if (!byKey) throw new InvariantError('every candidate was resolved by its key');
      if (!this.standsByKey(index)) return byKey;
      // The call's best report decides over the event id's: that one may itself have been corrected by another sender's report.
      const met = this.resolveByCall(candidate);
      const byCall = met.outcome === 'accepted' ? byKey : met;
      const { tenantId, eventId } = candidate.admitted;
      // A correction that names another tenant than the event it corrects would move one tenant's money by another's report (E6).
      const foreign = byCall.outcome === 'corrected' && tenants.get(byCall.correctsEventId) !== tenantId;
      const resolution: Resolution = foreign ? { outcome: 'conflict', keptEventId: byCall.correctsEventId } : byCall;
      if (resolution.outcome === 'accepted' || resolution.outcome === 'corrected') {
        tenants.set(eventId, tenantId);
        this.standFor(candidate, resolution.outcome === 'corrected');
      } else {
        this.standBack(candidate, resolution.keptEventId, foreign, rivalCalls);
      }
      return resolution;
    });
  }

  private standsByKey(index: number): boolean {
    const outcome = this.byKey[index]?.outcome;
    return outcome === 'accepted' || outcome === 'corrected';
  }

  private resolveByKey(candidate: Candidate): Resolution {
    const rival = this.keys.get(candidate.key);
    const resolution: Resolution = rival ? resolveAgainst(rival, { quality: candidate.quality, hash: candidate.keyHash }) : { outcome: 'accepted' };
    if (resolution.outcome === 'accepted' || resolution.outcome === 'corrected') {
      this.keys.set(candidate.key, { eventId: candidate.admitted.eventId, quality: candidate.quality, hash: candidate.keyHash });
      if (resolution.outcome === 'corrected') this.movedKeys.add(candidate.key);
    }
    return resolution;
  }

  private resolveByCall(candidate: Candidate): Resolution {
    for (const { name, discriminator } of candidate.callKeys) {
      const known = this.calls.get(name);
      if (known && isSameCall(known.discriminator, discriminator)) return resolveAgainst(known, { quality: candidate.quality, hash: candidate.figures });
    }
    return { outcome: 'accepted' };
  }

  /** The report stands: its calls are known by it from now on. */
  private standFor(candidate: Candidate, corrected: boolean): void {
    for (const { name, discriminator } of candidate.callKeys) {
      const known = this.calls.get(name);
      if (known && (!corrected || !isSameCall(known.discriminator, discriminator))) continue;
      this.calls.set(name, {
        eventId: candidate.admitted.eventId,
        quality: candidate.quality,
        hash: candidate.figures,
        discriminator: discriminator ?? known?.discriminator ?? null,
      });
      if (known) this.movedCalls.add(name);
    }
  }

  /** A repeat with the same figures but better standing, or one that tells which call it was, sharpens what is known. */
  private learnFromTwin(name: string, known: KnownCall, candidate: Candidate, discriminator: string | null): void {
    const quality = known.hash === candidate.figures ? Math.max(known.quality, candidate.quality) : known.quality;
    if (quality === known.quality && (known.discriminator !== null || discriminator === null)) return;
    this.calls.set(name, { ...known, quality, discriminator: known.discriminator ?? discriminator });
    this.movedCalls.add(name);
  }

  /** The report does not stand: what it claimed points at the event that does, or at nothing. */
  private standBack(candidate: Candidate, keptEventId: string, foreign: boolean, rivalCalls: ReadonlyMap<string, KnownCall>): void {
    this.keys.set(candidate.key, { eventId: keptEventId, quality: candidate.quality, hash: candidate.keyHash });
    this.movedKeys.add(candidate.key);
    for (const { name, discriminator } of candidate.callKeys) {
      const known = this.calls.get(name);
      if (known && isSameCall(known.discriminator, discriminator)) this.learnFromTwin(name, known, candidate, discriminator);
      if (known || rivalCalls.has(name)) continue;
      if (foreign) {
        this.droppedCalls.add(name);
        continue;
      }
      this.calls.set(name, { eventId: keptEventId, quality: candidate.quality, hash: candidate.figures, discriminator });
      this.movedCalls.add(name);
    }
  }
}
