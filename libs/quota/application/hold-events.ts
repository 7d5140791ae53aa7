/**
 * What happens to a hold becomes a spend event like any other: it goes through the inbox, so that the gateway's own report of the same
 * call is a duplicate or a correction and never a second charge.
 */
import { DomainError, toWireId, type Nano } from '#libs/kernel/index.js';
import { BUILT_IN_SOURCES, RecordEvents, SourceDirectory, type RecordedItem, type Source, type SpendReport } from '#libs/metering/index.js';
import type { Usage } from '#libs/pricing/index.js';
import type { Hold } from '../domain/hold.js';

export interface SettleFigures {
  /** What the provider charges, when the caller knows it. */
  readonly costNano: Nano | null;
  readonly provider: string | null;
  readonly model: string | null;
  readonly usage: Usage | null;
  /** False: more is to come, the hold stays open. */
  readonly final: boolean;
  /** Tells partial settles apart; a repeat with the same key is a duplicate. */
  readonly key: string;
}

/** `known`: the call has a report already, this charge of an earlier try or another one, and that is booked; `refused`: the inbox does not take the charge, it is a dead letter. */
export type ChargeOutcome = 'charged' | 'known' | 'refused';

export class HoldEvents {
  constructor(
    private readonly recordEvents: RecordEvents,
    private readonly sources: SourceDirectory,
  ) {}

  /** Records what a call cost by its caller's word. */
  async settle(hold: Hold, figures: SettleFigures): Promise<RecordedItem> {
    const wireId = toWireId('hold', hold.holdId);
    const report: SpendReport = {
      ...reportOf(hold, figures.final ? `settle:${wireId}` : `settle:${wireId}:${figures.key}`),
      provider: figures.provider ?? hold.facts?.provider ?? null,
      model: figures.model ?? hold.facts?.model ?? null,
      usage: figures.usage,
      // A caller's word: better than what a policy charged for want of it, and the gateway's own exact report corrects it.
      quality: figures.usage === null ? 'estimated' : 'drained',
      claimedCostNano: figures.costNano,
      claimsCall: figures.final,
    };
    const { items } = await this.recordEvents.executeReports({ source: await this.source(BUILT_IN_SOURCES.settle), reports: [report] });
    const [item] = items;
    if (!item) throw new DomainError({ code: 'quota.settle_failed', kind: 'unavailable', publicMessage: 'the settle was not recorded; try again' });
    return item;
  }

  /** Charges holds that nobody reported, by their policy; answers one outcome a hold. Idempotent by hold: repeated, it finds its own event. */
  async chargeUnresolved(holds: readonly Hold[]): Promise<ChargeOutcome[]> {
    const reports = holds.map((hold): SpendReport => {
      // What was captured before the end was a part of the call, its input among it.
      const byInput = hold.policy === 'charge_input' && (hold.facts?.model ?? null) !== null && hold.capturedNano === 0n;
      const coveredNano = hold.policy === 'charge_input' && hold.capturedNano > 0n ? hold.amountNano : hold.capturedNano;
      const leftNano = coveredNano >= hold.amountNano ? 0n : hold.amountNano - coveredNano;
      return {
        ...reportOf(hold, `unresolved:${toWireId('hold', hold.holdId)}`),
        usage: byInput ? { input_tokens: hold.facts?.inputTokens ?? 0 } : null,
        // Better than a report that knows nothing, worse than any that does.
        quality: 'hold',
        claimedCostNano: byInput ? null : leftNano,
        status: 'cancelled',
        metadata: { unresolved_policy: hold.policy },
      };
    });
    const { items } = await this.recordEvents.executeReports({ source: await this.source(BUILT_IN_SOURCES.hold), reports });
    return items.map(outcomeOf);
  }

  private async source(sourceId: string): Promise<Source> {
    const source = await this.sources.find(sourceId);
    if (!source) throw new DomainError({ code: 'source.not_found', kind: 'not_found', publicMessage: `the built-in source ${sourceId} is missing` });
    return source;
  }
}

function outcomeOf(item: RecordedItem): ChargeOutcome {
  if (item.outcome === 'rejected') return 'refused';
  return item.outcome === 'conflict' || item.code === 'event.lower_quality' || item.code === 'event.duplicate' ? 'known' : 'charged';
}

function reportOf(hold: Hold, externalId: string): SpendReport {
  const { facts } = hold;
  return {
    externalId,
    // When the call was asked for: a hold that outlives its month is the old month's spend.
    occurredAt: new Date(hold.createdAtMs),
    tenantId: hold.tenantId,
    callId: facts?.callId ?? null,
    holdId: toWireId('hold', hold.holdId),
    providerResponseId: null,
    userId: facts?.userId ?? null,
    feature: facts?.feature ?? null,
    environment: facts?.environment ?? null,
    assistantId: facts?.assistantId ?? null,
    threadId: facts?.threadId ?? null,
    apiKeyId: facts?.apiKeyId ?? null,
    requestId: facts?.requestId ?? null,
    tags: facts?.tags ?? null,
    provider: facts?.provider ?? null,
    model: facts?.model ?? null,
    requestedModel: facts?.requestedModel ?? null,
    usage: null,
    quality: 'unknown',
    claimedCostNano: null,
    latencyMs: null,
    ttftMs: null,
    stream: null,
    status: 'success',
    error: null,
    metadata: null,
    claimsCall: true,
  };
}
