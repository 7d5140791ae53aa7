import fc from 'fast-check';
import type { Json, JsonObject } from '#libs/kernel/index.js';
import { LITELLM_SAMPLES, liteLlmBody, liteLlmSample, readFixture } from '../../../test/support/litellm-samples.js';
import type { SpendReport } from '../domain/spend-event.js';
import { readLiteLlm, splitLiteLlmBody, stripLiteLlm } from './litellm.js';

const NOW = new Date('2026-11-22T12:00:00Z');
const success = liteLlmSample('success', NOW);

function refusalOf(item: Json): { code: string; path: string } {
  const outcome = readLiteLlm(item, {});
  if (outcome.ok) throw new Error('was read');
  return { code: outcome.code, path: outcome.path };
}

describe('items that are no call', () => {
  it.each([
    ['null', null, 'litellm.null_item'],
    ['a text', 'x', 'litellm.not_an_object'],
    ['an array', [], 'litellm.not_an_object'],
    ['an empty object', {}, 'litellm.invalid_field'],
    [
      'the old payload',
      { id: 'x', startTime: '2026-01-01 10:00:00', endTime: 'y', modelParameters: '{}', usage: "{'prompt_tokens': 1}", cost: '0.1' },
      'litellm.v1_payload',
    ],
    ['a spend alert', JSON.parse(readFixture('budget-webhook-spend_tracked.json')) as Json, 'litellm.budget_alert'],
    ['a budget alert', JSON.parse(readFixture('budget-webhook-threshold_crossed.json')) as Json, 'litellm.budget_alert'],
  ])('%s', (_case, item, code) => {
    expect(refusalOf(item).code).toBe(code);
  });
});

describe('bodies', () => {
  const idsOf = (text: string): unknown[] => {
    const split = splitLiteLlmBody(text);
    if (!split.ok) throw new Error(split.code);
    return split.items.map((item) => (item === null ? null : (item as JsonObject)['id']));
  };

  it('an array, one object, and one object a line are told apart by their content', () => {
    const [first, second] = ['chatcmpl-CFx1aKq7RrM0u2pYpZ0n9h4t', 'chatcmpl-8f1b6a52-anthropic-0008'];
    expect(idsOf(liteLlmBody('batch-array.json', NOW))).toEqual([
      first,
      'chatcmpl-CFx2St7eAmOk0000000000001',
      'c7a0b8d4-1111-4f11-8111-5d6e7f800005',
      null,
      first,
    ]);
    expect(idsOf(liteLlmBody('batch.ndjson', NOW))).toEqual([first, second]);
    expect(idsOf(liteLlmBody('success.json', NOW))).toEqual([first]);
    expect(idsOf(`${JSON.stringify(success)}\r\n\n null\n`)).toEqual([first, null]);
    expect(idsOf('[]')).toEqual([]);
  });

  it.each(['', ' \n ', '{', '{"id":1}\n{', 'x', '[1', '\u0000'])('what is no JSON is refused as a whole: %j', (text) => {
    expect(splitLiteLlmBody(text)).toMatchObject({ ok: false, code: 'litellm.body_unparseable' });
  });

  it.each(['1', '"x"', 'true'])('a bare %s is no body', (text) => {
    expect(splitLiteLlmBody(text)).toMatchObject({ ok: false, code: 'litellm.body_invalid' });
  });
});

describe('privacy', () => {
  const CANARY = 'the secret prompt 7391';

  /** Replaces one leaf (or key) below the content fields by the canary, wherever `pick` points. */
  function planted(name: (typeof LITELLM_SAMPLES)[number], pick: number, asKey: boolean): JsonObject {
    const item = liteLlmSample(name, NOW);
    item['messages'] = [{ role: 'user', content: 'x', parts: [{ type: 'text', text: 'y' }] }];
    item['error_str'] = item['error_str'] === 'Client disconnected the request' ? item['error_str'] : CANARY;
    const error = item['error_information'] as JsonObject;
    Object.assign(error, { error_message: CANARY, traceback: CANARY });
    const places: [JsonObject | Json[], string][] = [];
    const walk = (value: Json): void => {
      if (typeof value !== 'object' || value === null) return;
      for (const key of Object.keys(value)) {
        places.push([value, key]);
        walk((value as JsonObject)[key] ?? null);
      }
    };
    for (const field of ['messages', 'response', 'model_parameters']) walk(item[field] ?? null);
    const place = places[pick % places.length];
    if (place) {
      const [parent, key] = place;
      (parent as JsonObject)[asKey && !Array.isArray(parent) ? CANARY : key] = CANARY;
    }
    return item;
  }

  it('a prompt planted anywhere in messages, response, parameters or error text is in no report and in no dead letter', () => {
    fc.assert(
      fc.property(fc.constantFrom(...LITELLM_SAMPLES), fc.nat(200), fc.boolean(), (name, pick, asKey) => {
        const item = planted(name, pick, asKey);
        const outcome = readLiteLlm(item, {});
        const printed = JSON.stringify([outcome, stripLiteLlm(item)], (_key, value: unknown) => (typeof value === 'bigint' ? String(value) : value));
        expect(printed).not.toContain(CANARY);
      }),
      { numRuns: 500 },
    );
  });

  it('metadata keeps small scalars of the client and nothing that sounds like content or a secret', () => {
    const item = structuredClone(success);
    const sent = { department: 'legal', prompt: CANARY, api_key: 'sk-1', long: 'x'.repeat(257), deep: { a: 1 }, bad: 'a\u0000b' };
    Object.assign(item['metadata'] as JsonObject, { requester_metadata: sent });
    const outcome = readLiteLlm(item, {});
    const metadata = (outcome.ok && outcome.report.metadata) || {};
    expect(metadata).toMatchObject({ department: 'legal' });
    for (const name of ['prompt', 'api_key', 'long', 'deep', 'bad']) expect(metadata).not.toHaveProperty(name);
  });

  it('a stripped item reads to the same report as the whole one', () => {
    for (const name of LITELLM_SAMPLES) {
      const item = liteLlmSample(name, NOW);
      expect(readLiteLlm(stripLiteLlm(item), {})).toEqual(readLiteLlm(item, {}));
    }
  });
});

describe('any JSON', () => {
  const nasty = fc.oneof(
    fc.constantFrom<Json>(
      Number.NaN,
      Number.POSITIVE_INFINITY,
      -1,
      2 ** 53 + 2,
      '0x10',
      '',
      '9'.repeat(400),
      '2026-02-30',
      '\u0000',
      '\ud800',
      '\u200b',
      '__proto__',
      'constructor',
      1e308,
      -0,
    ),
    fc.jsonValue() as fc.Arbitrary<Json>,
  );

  it('never throws, whatever stands in whatever field', () => {
    const paths = pathsOf(success);
    fc.assert(
      fc.property(fc.constantFrom(...LITELLM_SAMPLES), fc.array(fc.tuple(fc.constantFrom(...paths), nasty), { maxLength: 4 }), (name, changes) => {
        const item = liteLlmSample(name, NOW);
        for (const [path, value] of changes) setLenient(item, path, value);
        const outcome = readLiteLlm(item, {});
        if (outcome.ok) expect(isSound(outcome.report)).toBe(true);
        JSON.stringify(stripLiteLlm(item));
        // A replay of what was refused is refused again: a dropped figure must not turn into a smaller bill.
        if (!outcome.ok) expect(readLiteLlm(JSON.parse(JSON.stringify(stripLiteLlm(item))) as Json, {}).ok).toBe(false);
      }),
      { numRuns: 1_000 },
    );
  });

  it('never throws for anything that is no payload at all', () => {
    fc.assert(
      fc.property(nasty, fc.string(), (item, text) => {
        readLiteLlm(item, { tenant_id: ['metadata.x', 'tag:y', '', '..', '__proto__.a', 'metadata.__proto__.toString'] });
        stripLiteLlm(item);
        splitLiteLlmBody(text);
        splitLiteLlmBody(JSON.stringify(item) ?? '');
      }),
    );
  });
});

function pathsOf(item: JsonObject): string[] {
  const paths: string[] = [];
  const walk = (value: Json, prefix: string): void => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return;
    for (const [key, child] of Object.entries(value)) {
      paths.push(prefix + key);
      walk(child, `${prefix}${key}.`);
    }
  };
  walk(item, '');
  return paths.filter((path) => !path.startsWith('model_map_information.model_map_value.'));
}

function setLenient(item: JsonObject, path: string, value: Json): void {
  const names = path.split('.');
  let parent: JsonObject = item;
  for (const name of names.slice(0, -1)) {
    const next: Json | undefined = parent[name];
    if (typeof next !== 'object' || next === null || Array.isArray(next)) return;
    parent = next;
  }
  parent[names.at(-1) ?? ''] = value;
}

/** What storing a report relies on. */
function isSound(report: SpendReport): boolean {
  const counts = Object.values<number | Record<string, number>>(report.usage ?? {}).flatMap((value) =>
    typeof value === 'number' ? [value] : Object.values(value),
  );
  const texts = JSON.stringify([report.tenantId, report.userId, report.metadata, report.tags, report.model, report.error]);
  return (
    counts.every((count) => Number.isSafeInteger(count) && count >= 0) &&
    !texts.includes('\\u0000') &&
    !Number.isNaN(report.occurredAt?.getTime()) &&
    (report.claimedCostNano === null || report.claimedCostNano >= 0n) &&
    [report.latencyMs, report.ttftMs].every((ms) => ms === null || (Number.isInteger(ms) && ms >= 0)) &&
    Buffer.byteLength(report.externalId) <= 128
  );
}
