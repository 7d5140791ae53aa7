import fc from 'fast-check';
import type { Json } from '#libs/kernel/index.js';
import { readApiEvent, readBySchema, stripApiEvent } from './api.js';
import { readPlainEvent } from './plain-event.js';

const id = fc.oneof(fc.string({ maxLength: 6 }), fc.constantFrom('acme', 'a b', ' a', 'a\u0000', 'é', 'e\u0301', 'x'.repeat(129), '\u200b'));
const number = fc.oneof(fc.integer({ min: -2, max: 2_000_000_000 }), fc.constantFrom(Number.POSITIVE_INFINITY, Number.NaN, 0.5, -0, 2 ** 53));
const field: Record<string, fc.Arbitrary<unknown>> = {
  event_id: id,
  occurred_at: fc.constantFrom('2026-11-22T09:30:00Z', '2026-02-30T00:00:00Z', 'x'),
  tenant_id: id,
  call_id: id,
  hold_id: id,
  feature: id,
  provider: id,
  model: id,
  usage: fc.oneof(
    fc.dictionary(fc.constantFrom('input_tokens', 'output_tokens', 'reasoning_tokens', 'images', 'wrong'), number, { maxKeys: 3 }),
    fc.constantFrom(null, {}, [], { meters: { web_search: 1 } }),
  ),
  usage_quality: fc.constantFrom('exact', 'partial', 'hold', 'unknown'),
  cost_usd: fc.constantFrom('0.1', '-1', '1e3', 1.5, '9000000.1'),
  latency_ms: number,
  stream: fc.constantFrom(true, false, 'yes'),
  status: fc.constantFrom('success', 'error', 'cancelled', 'blocked', 'other'),
  error: id,
  tags: fc.constantFrom({ a: 'b' }, null, 'x'),
  metadata: fc.constantFrom({ a: 1 }, null),
  unknown: fc.constant(1),
};
const names = Object.keys(field);
/** Mostly events with a few fields, each right or wrong. */
const event = fc
  .subarray(names, { maxLength: 6 })
  .chain((picked) =>
    fc.record(
      Object.fromEntries(
        ['event_id', ...picked].map((name) => [name, fc.oneof({ weight: 3, arbitrary: field[name] ?? id }, { weight: 1, arbitrary: fc.constant(null) })]),
      ),
    ),
  );

describe('reading our own event', () => {
  test('S2 the quick way accepts nothing that the schema refuses, and reads the rest to the same report', () => {
    let quick = 0;
    fc.assert(
      fc.property(event, (item) => {
        const plain = readPlainEvent(item as Json);
        if (plain === null) return;
        quick += 1;
        expect(readBySchema(item as Json)).toEqual({ ok: true, report: plain });
      }),
      { numRuns: 5_000 },
    );
    expect(quick).toBeGreaterThan(100);
  });

  test('anything at all is answered, never thrown', () => {
    fc.assert(fc.property(fc.jsonValue(), (item) => void readApiEvent(item as Json)));
  });

  test('a common event takes the quick way', () => {
    const item = {
      event_id: 'e',
      occurred_at: '2026-11-22T09:30:00Z',
      tenant_id: 'acme',
      provider: 'openai',
      model: 'gpt-4o',
      usage: { input_tokens: 1, output_tokens: 2 },
      latency_ms: 5,
    };
    expect(readPlainEvent(item)).not.toBeNull();
  });

  test('a dead letter keeps the name of an unknown field and not its value', () => {
    expect(stripApiEvent({ event_id: 'e', prompt: 'secret', metadata: { long: 'x'.repeat(1_000) } })).toEqual({
      event_id: 'e',
      prompt: null,
      metadata: { long: 'x'.repeat(256) },
    });
  });
});
