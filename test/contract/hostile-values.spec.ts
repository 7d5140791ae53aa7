import { startTestApi, type TestApi } from '../support/api.js';
import { fieldPaths, fillPath, readOpenApi, sampleOf, withField, saysNoInItsBody, type Operation } from '../support/openapi.js';

/** Stands for text that JSON.stringify cannot produce; replaced in the serialised body. */
const raw = (text: string): { raw: string } => ({ raw: text });

// Fault F33. `refused`: no field of any schema of ours may take it; the others may be legal text somewhere.
const VALUES: ReadonlyArray<readonly [string, unknown, 'refused' | 'maybe']> = [
  ['NaN', raw('NaN'), 'refused'],
  ['1e309', raw('1e309'), 'refused'],
  ['-1e309', raw('-1e309'), 'refused'],
  ['-0', raw('-0'), 'maybe'],
  ['-1', -1, 'refused'],
  ['1.5', 1.5, 'maybe'],
  ['2^53 + 1', raw('9007199254740993'), 'refused'],
  ['an integer of 400 digits', raw('9'.repeat(400)), 'refused'],
  ['"0x10"', '0x10', 'maybe'],
  ['an empty string', '', 'maybe'],
  ['money beyond the limit', '9000000.000000001', 'maybe'],
  ['money of 60 digits', '9'.repeat(60), 'maybe'],
  ['money with an exponent', '1e3', 'maybe'],
  ['30 February', '2026-02-30T00:00:00Z', 'maybe'],
  ['the year 9999', '9999-12-31T23:59:59Z', 'maybe'],
  ['the year 275760', '+275760-09-13T00:00:00Z', 'maybe'],
  ['a NUL', 'a\u0000b', 'refused'],
  ['a lone high surrogate', 'a\ud800', 'refused'],
  ['a lone low surrogate', '\udc00b', 'refused'],
  ['a zero-width space', 'a\u200bb', 'refused'],
  ['a text of 100 kB', 'x'.repeat(100_000), 'refused'],
  ['a key __proto__', raw('{"__proto__":{"polluted":true}}'), 'refused'],
  ['an object with a NUL key', { 'a\u0000': 'b' }, 'refused'],
  ['a deep object', raw(`${'{"a":'.repeat(60)}1${'}'.repeat(60)}`), 'refused'],
  ['an array', [1, 2], 'maybe'],
  ['true', true, 'maybe'],
  ['null', null, 'maybe'],
];

describe('F33 hostile values in every field of every route', () => {
  let api: TestApi;
  let operations: readonly Operation[];
  let sample: (operation: Operation) => unknown;
  beforeAll(async () => {
    api = await startTestApi();
    const document = await readOpenApi(api);
    operations = document.operations;
    sample = (operation) => (operation.bodySchema === null ? null : sampleOf(operation.bodySchema, document.resolve));
  });
  afterAll(async () => await api.close());

  const send = async (operation: Operation, body: unknown) => {
    const replacements: string[] = [];
    const text = JSON.stringify(body, (_key, value: unknown) => {
      if (typeof value !== 'object' || value === null || !('raw' in value)) return value;
      replacements.push((value as { raw: string }).raw);
      return '\u0001raw\u0001';
    }).replaceAll('"\\u0001raw\\u0001"', () => replacements.shift() ?? 'null');
    return await api.call(operation.method, fillPath(operation.path, { tenant_id: 'hostile' }), { body: text });
  };
  // Routes that answer 202 judge each item: the refusal is an outcome in the answer.
  const judgesItems = (operation: Operation): boolean => operation.successStatuses.includes(202) || saysNoInItsBody(operation);

  it('answers 4xx and never 5xx, whatever a body field holds', async () => {
    const failures: string[] = [];
    let calls = 0;
    for (const operation of operations) {
      const base = sample(operation);
      for (const path of fieldPaths(base)) {
        for (const [name, value, verdict] of VALUES) {
          const { status, body } = await send(operation, withField(base, path, value));
          calls += 1;
          const mustRefuse = verdict === 'refused' && !judgesItems(operation);
          const right = mustRefuse ? status >= 400 && status < 500 : status < 500;
          if (!right) failures.push(`${operation.method} ${operation.path} ${path.join('.')} = ${name}: ${status} ${JSON.stringify(body).slice(0, 160)}`);
        }
      }
    }
    expect(failures).toEqual([]);
    expect(calls).toBeGreaterThan(500);
  }, 300_000);

  it('answers below 500, whatever a query parameter holds', async () => {
    const failures: string[] = [];
    const texts = [
      ...VALUES.flatMap(([name, value]) => (typeof value === 'string' && value.length < 1_000 ? [[name, value] as const] : [])),
      ['-1', '-1'],
      ['1e309', '1e309'],
    ];
    for (const operation of operations.filter((candidate) => candidate.method === 'GET')) {
      for (const parameter of operation.queryParams) {
        for (const [name, value] of texts) {
          // A lone surrogate cannot be percent-encoded; its bytes arrive as they would from a broken client.
          const encoded = /\p{Cs}/u.test(value ?? '') ? '%ED%A0%80' : encodeURIComponent(value ?? '');
          const { status } = await api.call('GET', `${fillPath(operation.path, { tenant_id: 'hostile' })}?${parameter}=${encoded}`);
          if (status >= 500) failures.push(`GET ${operation.path}?${parameter}=${name}: ${status}`);
        }
      }
    }
    expect(failures).toEqual([]);
  }, 300_000);

  it('answers below 500, whatever a path parameter holds', async () => {
    const failures: string[] = [];
    const segments = [
      '%00',
      '%ED%A0%80',
      '%E2%80%8B',
      '__proto__',
      'constructor',
      '-1',
      '%20',
      '%2F',
      '..%2F..',
      'x'.repeat(200),
      `evt_${'0'.repeat(40)}`,
      'key_00000000-0000-0000-0000-000000000000',
      '%F0%9F%98%80',
    ];
    for (const operation of operations.filter((candidate) => candidate.pathParams.length > 0)) {
      for (const segment of segments) {
        const body = operation.bodySchema === null ? undefined : sample(operation);
        const { status } = await api.call(operation.method, operation.path.replaceAll(/\{\w+\}/g, segment), { body });
        if (status >= 500) failures.push(`${operation.method} ${operation.path} with ${segment}: ${status}`);
      }
    }
    expect(failures).toEqual([]);
  }, 120_000);

  it('names the field that was refused', async () => {
    const answer = await api.call('PUT', '/v1/tenants/hostile', { body: { owner: { channel_ids: ['ok', 'a\u0000b'] }, credit_limit_usd: 1 } });
    expect(answer.body.errors.map((problem: { path: string }) => problem.path).sort()).toEqual(['credit_limit_usd', 'owner.channel_ids[1]']);
  });
});
