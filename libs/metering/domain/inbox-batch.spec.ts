import fc from 'fast-check';
import { InboxBatch, toCandidate, type KnownCall } from './inbox-batch.js';
import type { KnownReport } from './resolve-report.js';
import { QUALITY_RANK, type UsageQuality } from './spend-event.js';
import { anAdmitted } from '../testing/reports.js';

/** What a database remembers between batches: the adapter's tables as plain maps. */
class Memory {
  readonly keys = new Map<string, KnownReport>();
  readonly calls = new Map<string, KnownCall>();
  readonly tenants = new Map<string, string>();
  readonly stored: { eventId: string; corrects: string | null }[] = [];

  write(reports: ReturnType<typeof anAdmitted>[]): string[] {
    const candidates = reports.map(toCandidate);
    const rivalKeys = new Map<string, KnownReport>();
    for (const candidate of candidates) {
      const known = this.keys.get(candidate.key);
      if (known) rivalKeys.set(candidate.key, known);
    }
    for (const candidate of candidates) {
      if (!this.keys.has(candidate.key))
        this.keys.set(candidate.key, { eventId: candidate.admitted.eventId, quality: candidate.quality, hash: candidate.keyHash });
    }
    const batch = new InboxBatch(candidates, rivalKeys);
    const rivalCalls = new Map<string, KnownCall>();
    for (const { callKeys } of batch.contenders()) {
      for (const { name } of callKeys) {
        const known = this.calls.get(name);
        if (known) rivalCalls.set(name, known);
      }
    }
    for (const { callKeys, admitted, quality, figures } of batch.contenders()) {
      for (const { name, discriminator } of callKeys)
        if (!this.calls.has(name)) this.calls.set(name, { eventId: admitted.eventId, quality, hash: figures, discriminator });
    }
    const resolutions = batch.resolve(rivalCalls, this.tenants);
    resolutions.forEach((resolution, index) => {
      const admitted = reports[index];
      if (!admitted || (resolution.outcome !== 'accepted' && resolution.outcome !== 'corrected')) return;
      this.stored.push({ eventId: admitted.eventId, corrects: resolution.outcome === 'corrected' ? resolution.correctsEventId : null });
      this.tenants.set(admitted.eventId, admitted.tenantId);
    });
    for (const name of batch.movedKeys) this.keys.set(name, batch.keys.get(name) as KnownReport);
    for (const name of batch.droppedCalls) this.calls.delete(name);
    for (const name of batch.movedCalls) this.calls.set(name, batch.calls.get(name) as KnownCall);
    return resolutions.map((resolution) => resolution.outcome);
  }

  /** Events that count: stored and not corrected by another stored one. */
  standing(): string[] {
    const corrected = new Set(this.stored.map((event) => event.corrects));
    return this.stored.map((event) => event.eventId).filter((eventId) => !corrected.has(eventId));
  }
}

let serial = 0;
const nextId = (): string => {
  serial += 1;
  return `00000000-0000-7000-8000-${String(serial).padStart(12, '0')}`;
};

describe('one event of many deliveries, one call of several reports', () => {
  test('fifty deliveries of one event in one batch store it once', () => {
    const memory = new Memory();
    const outcomes = memory.write(Array.from({ length: 50 }, () => anAdmitted(nextId(), { externalId: 'same', callId: 'c' })));
    expect(outcomes.filter((outcome) => outcome === 'accepted')).toHaveLength(1);
    expect(outcomes.filter((outcome) => outcome === 'duplicate')).toHaveLength(49);
  });

  test('two senders that saw one call store it once, and the second sender resends in vain', () => {
    const memory = new Memory();
    memory.write([anAdmitted(nextId(), { externalId: 'gateway', callId: 'c', providerResponseId: 'r' }, { sourceId: 'litellm' })]);
    expect(memory.write([anAdmitted(nextId(), { externalId: 'sdk', callId: 'c' })])).toEqual(['duplicate']);
    expect(memory.write([anAdmitted(nextId(), { externalId: 'sdk', callId: 'c' })])).toEqual(['duplicate']);
    expect(memory.standing()).toHaveLength(1);
  });

  test('calls that share a client-chosen call id but not the provider response are all kept', () => {
    const memory = new Memory();
    const reports = ['r1', 'r2', 'r3'].map((response) => anAdmitted(nextId(), { externalId: response, callId: 'constant', providerResponseId: response }));
    expect(memory.write(reports)).toEqual(['accepted', 'accepted', 'accepted']);
  });

  test('an event id whose report was corrected through its call cannot be corrected a second time behind its back', () => {
    const memory = new Memory();
    const usage = (tokens: number) => ({ input_tokens: tokens });
    memory.write([anAdmitted(nextId(), { externalId: 'a', callId: 'c', quality: 'estimated', usage: usage(1) })]);
    memory.write([anAdmitted(nextId(), { externalId: 'b', callId: 'c', quality: 'exact', usage: usage(2) })]);
    expect(memory.write([anAdmitted(nextId(), { externalId: 'a', callId: 'c', quality: 'lookup', usage: usage(3) })])).toEqual(['duplicate']);
    expect(memory.standing()).toHaveLength(1);
  });

  test("E6 a report of one tenant never corrects another tenant's event, and leaves its calls free", () => {
    const memory = new Memory();
    memory.write([anAdmitted(nextId(), { externalId: 'a', tenantId: 'acme', quality: 'estimated', usage: { input_tokens: 1 } })]);
    expect(memory.write([anAdmitted(nextId(), { externalId: 'a', tenantId: 'globex', quality: 'exact', callId: 'c', usage: { input_tokens: 2 } })])).toEqual([
      'conflict',
    ]);
    expect(memory.write([anAdmitted(nextId(), { externalId: 'g', tenantId: 'globex', callId: 'c' })])).toEqual(['accepted']);
  });

  test('failed attempts share the call id of the success and never take its place', () => {
    const memory = new Memory();
    const attempt = (externalId: string) => anAdmitted(nextId(), { externalId, callId: 'c', status: 'error', claimsCall: false, usage: { input_tokens: 0 } });
    expect(memory.write([attempt('try1'), attempt('try2'), anAdmitted(nextId(), { externalId: 'ok', callId: 'c' })])).toEqual([
      'accepted',
      'accepted',
      'accepted',
    ]);
  });

  const qualities = Object.keys(QUALITY_RANK) as UsageQuality[];
  const reportOfOneCall = fc.record({
    externalId: fc.constantFrom('a', 'b', 'c', 'd'),
    quality: fc.constantFrom(...qualities),
    tokens: fc.integer({ min: 1, max: 3 }),
    source: fc.constantFrom('api', 'litellm'),
  });

  test('E2 E5 whatever the order, repetition and batching, exactly one report of a call stands and quality never falls', () => {
    fc.assert(
      fc.property(fc.array(fc.array(reportOfOneCall, { maxLength: 6 }), { maxLength: 6 }), (batches) => {
        const memory = new Memory();
        const qualityOf = new Map<string, number>();
        for (const batch of batches) {
          const reports = batch.map(({ externalId, quality, tokens, source }) => {
            const eventId = nextId();
            qualityOf.set(eventId, QUALITY_RANK[quality]);
            return anAdmitted(eventId, { externalId, callId: 'call', quality, usage: { input_tokens: tokens } }, { sourceId: source });
          });
          memory.write(reports);
        }
        const sent = batches.flat();
        expect(memory.standing()).toHaveLength(sent.length === 0 ? 0 : 1);
        for (const { eventId, corrects } of memory.stored) {
          if (corrects !== null) expect(qualityOf.get(eventId)).toBeGreaterThan(qualityOf.get(corrects) as number);
        }
        // A second replay of everything changes nothing.
        const before = memory.stored.length;
        for (const batch of batches) {
          memory.write(
            batch.map(({ externalId, quality, tokens, source }) =>
              anAdmitted(nextId(), { externalId, callId: 'call', quality, usage: { input_tokens: tokens } }, { sourceId: source }),
            ),
          );
        }
        expect(memory.stored).toHaveLength(before);
      }),
      { numRuns: 500 },
    );
  });
});
