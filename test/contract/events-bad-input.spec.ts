/** What bad input gets: a problem document or an outcome that names field and rule, never a 5xx, never a half-written batch. */
import { startTestApi, type TestApi } from '../support/api.js';
import { postEverything } from '../support/posting.js';

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
  await api.call('PUT', '/v1/tenants/bad-a', { body: {} });
  await api.call('PUT', '/v1/tenants/bad-b', { body: {} });
});
afterAll(async () => {
  await api.close();
});

const good = { event_id: 'good', tenant_id: 'bad-a', provider: 'openai', model: 'gpt-4o', usage: { input_tokens: 1 } };
const record = async (body: unknown, options: { key?: string; headers?: Record<string, string> } = {}) =>
  await api.call('POST', '/v1/events', { body, ...options });
const storedEvents = async (): Promise<bigint> => (await api.database.db.query<{ n: bigint }>('SELECT count(*) AS n FROM metering.event'))[0]?.n ?? -1n;

// Fault F33, as JSON text so that numbers JSON.parse would bend arrive as they are.
const HOSTILE = [
  'null',
  'NaN',
  '1e309',
  '-1',
  '9007199254740993',
  '"0x10"',
  '""',
  '123456789012345678901234567890',
  '"2026-02-30T00:00:00Z"',
  '"9999-12-31T23:59:59Z"',
  '"\\u0000"',
  '"\\ud800"',
  '"a\\u200bb"',
  '{"__proto__":1}',
  '[]',
  '{}',
  'true',
  '0.5',
  '" x "',
  `"${'x'.repeat(129)}"`,
];
const FIELDS = `event_id occurred_at tenant_id call_id hold_id user_id feature environment assistant_id thread_id api_key_id request_id tags
  provider model requested_model usage usage_quality cost_usd latency_ms ttft_ms stream status error metadata
  usage.input_tokens usage.output_tokens usage.reasoning_tokens usage.cache_read_tokens usage.images usage.meters usage.meters.web_search tags.k metadata.k`.split(
  /\s+/,
);

describe('F33 every hostile value in every field', () => {
  test.each(FIELDS)('%s: answered without a 5xx, the neighbour is accepted, what is accepted can be posted', async (field) => {
    const tryValue = async (hostile: string, index: number): Promise<void> => {
      const path = field.split('.');
      const nested = path.reduceRight((value, name) => `{"${name}":${value}}`, hostile).slice(1, -1);
      const id = `${field}-${index}`;
      const rest = field === 'event_id' ? '' : `,"event_id":"h-${id}"`;
      const text = `[{${nested}${rest}},{"event_id":"n-${id}","tenant_id":"bad-a","usage":{"input_tokens":0}}]`;
      const answer = await record(text);
      if (answer.status === 202) {
        expect({
          id,
          total: answer.body.accepted + answer.body.rejected + answer.body.conflicts + answer.body.duplicates,
          neighbour: answer.body.accepted >= 1,
        }).toEqual({ id, total: 2, neighbour: true });
        for (const result of answer.body.results) expect(result).toMatchObject({ code: expect.any(String), detail: expect.any(String) });
      } else {
        // NaN is no JSON and __proto__ is refused with the whole body.
        expect({ id, status: answer.status, code: typeof answer.body.code }).toEqual({ id, status: 400, code: 'string' });
      }
    };
    await Promise.all(HOSTILE.map(tryValue));
    await postEverything(api.app);
  });

  test('a rejection names the field and the rule and never repeats the value', async () => {
    const { body } = await record([
      { ...good, event_id: 'r1', usage: { input_tokens: -5 } },
      { ...good, event_id: 'r2', cost_usd: 1.5 },
      { ...good, event_id: 'r3', temperature: 'secret-value' },
    ]);
    expect(body.results.map((result: { detail: string }) => result.detail)).toEqual([
      'usage.input_tokens: must not be negative',
      'cost_usd: must be a decimal string in USD, never a JSON number',
      'temperature: is not a field of a spend event',
    ]);
  });
});

describe('the window', () => {
  test.each([
    ['older than 35 days', '2026-10-18T11:59:59Z', 'event.too_old'],
    ['more than 5 minutes ahead', '2026-11-22T12:05:01Z', 'event.too_new'],
  ])('an event %s is rejected and kept as a dead letter', async (_name, occurredAt, code) => {
    const { body } = await record({ ...good, event_id: code, occurred_at: occurredAt });
    expect(body).toMatchObject({ accepted: 0, rejected: 1, results: [{ code, event_id: code }] });
  });

  test.each(['2026-10-18T12:00:00Z', '2026-11-22T12:05:00Z'])('an event of %s, at the edge, is accepted', async (occurredAt) => {
    expect((await record({ ...good, event_id: `edge-${occurredAt}`, occurred_at: occurredAt })).body.accepted).toBe(1);
  });
});

describe('S1 bodies that are refused as a whole store nothing', () => {
  const many = (count: number) => JSON.stringify(Array.from({ length: count }, (_, index) => ({ ...good, event_id: `many-${index}` })));
  test.each([
    ['5,001 events', () => many(5_001), {}, 413, 'request.too_many_events'],
    ['8 MiB and one byte', () => `"${'x'.repeat(8 * 1024 * 1024 - 1)}"`, {}, 413, expect.any(String)],
    ['JSON nested too deep', () => '['.repeat(100) + ']'.repeat(100), {}, 400, 'request.too_deep'],
    ['half a JSON text', () => '[{"event_id":"x"}', {}, 400, 'request.not_json'],
    ['NDJSON with a broken line', () => `${JSON.stringify(good)}\n{"event_id":`, { 'content-type': 'application/x-ndjson' }, 400, 'request.not_json'],
    ['a content type that is not ours', () => JSON.stringify(good), { 'content-type': 'text/plain' }, 415, expect.any(String)],
    ['a compressed body', () => JSON.stringify(good), { 'content-encoding': 'gzip' }, 415, 'request.unsupported_encoding'],
  ])('%s', async (_name, body, headers, status, code) => {
    const before = await storedEvents();
    const answer = await record(body(), { headers });
    expect({ status: answer.status, code: answer.body.code }).toEqual({ status, code });
    expect(answer.headers.get('content-type')).toContain('application/problem+json');
    expect(await storedEvents()).toBe(before);
  });

  test('exactly 5,000 events are taken', async () => {
    expect((await record(many(5_000))).body.accepted).toBe(5_000);
  });
});

describe('sources and keys', () => {
  test('an unknown source is a 404 that says how to make one', async () => {
    const answer = await api.call('POST', '/v1/webhooks/litellm/nowhere', { body: [] });
    expect(answer).toMatchObject({ status: 404, body: { code: 'source.not_found' } });
  });

  test('a key of one tenant cannot book on another: the item is rejected, naming the rule', async () => {
    const key = await api.makeKey({ scopes: ['ingest'], tenant_id: 'bad-a' });
    const { body } = await record(
      [
        { ...good, event_id: 'mine', tenant_id: undefined },
        { ...good, event_id: 'theirs', tenant_id: 'bad-b' },
      ],
      { key },
    );
    expect(body).toMatchObject({
      accepted: 1,
      rejected: 1,
      results: [{ code: 'tenant.foreign', detail: 'tenant_id: must be the tenant that the key belongs to' }],
    });
  });

  test("a tenant-bound key cannot take another tenant's event ids", async () => {
    const keyA = await api.makeKey({ scopes: ['ingest'], tenant_id: 'bad-a' });
    const keyB = await api.makeKey({ scopes: ['ingest'], tenant_id: 'bad-b' });
    const { tenant_id: _tenant, ...bare } = { ...good, event_id: 'shared-id' };
    expect((await record(bare, { key: keyA })).body.accepted).toBe(1);
    expect((await record(bare, { key: keyB })).body.accepted).toBe(1);
  });

  test('a key bound to a source speaks for it alone', async () => {
    await api.call('PUT', '/v1/sources/eu-proxy', { body: { gateway: 'litellm' } });
    await api.call('PUT', '/v1/sources/us-proxy', { body: { gateway: 'litellm' } });
    const key = await api.makeKey({ scopes: ['ingest'], source_id: 'eu-proxy' });
    expect((await api.call('POST', '/v1/webhooks/litellm/us-proxy', { body: [], key })).status).toBe(403);
    expect((await api.call('POST', '/v1/webhooks/litellm/eu-proxy', { body: [], key })).status).toBe(202);
    expect((await record(good, { key })).status).toBe(409);
  });

  test('a revoked key stores nothing', async () => {
    const made = await api.call('POST', '/v1/service-keys', { body: { name: 'gone', scopes: ['ingest'] } });
    await api.call('DELETE', `/v1/service-keys/${made.body.key_id}`);
    const before = await storedEvents();
    expect((await record({ ...good, event_id: 'after' }, { key: made.body.key })).status).toBe(401);
    expect(await storedEvents()).toBe(before);
  });
});

describe('dead letters', () => {
  test('one that was too early goes through later, once, and answers the same afterwards', async () => {
    await record({ ...good, event_id: 'early', occurred_at: '2026-11-22T13:00:00Z' });
    const [letter] = (await api.call('GET', '/v1/dead-letters?code=event.too_new&limit=1')).body.data;
    const replay = async () => (await api.call('POST', `/v1/dead-letters/${letter.id}/replay`)).body;
    expect(await replay()).toMatchObject({ outcome: 'rejected', code: 'event.too_new', attempts: 1 });
    api.clock.advance(3_600_000);
    expect(await replay()).toMatchObject({ outcome: 'accepted', attempts: 2 });
    expect(await replay()).toMatchObject({ outcome: 'duplicate' });
    expect((await api.call('GET', '/v1/events?event_id=early')).body.data).toHaveLength(1);
  });
});

describe('E6 an event of tenant A never changes a row of tenant B', () => {
  test('every row that names B is the same, to its last writing transaction, before and after', async () => {
    await api.call('POST', '/v1/tenants/bad-b/credits', { body: { amount_usd: '5', kind: 'paid' } });
    await record([{ ...good, event_id: 'b1', tenant_id: 'bad-b', call_id: 'shared' }]);
    await postEverything(api.app);
    const rowsOfB = async () => {
      const tables = await api.database.db.query<{ name: string }>(
        `SELECT format('%I.%I', table_schema, table_name) AS name FROM information_schema.columns
         WHERE column_name = 'tenant_id' AND table_schema IN ('tenancy', 'ledger', 'metering', 'reporting', 'platform') ORDER BY 1`,
      );
      const rows = [];
      for (const { name } of tables)
        rows.push([name, await api.database.db.query(`SELECT t.xmin::text, t::text FROM ${name} t WHERE tenant_id = 'bad-b' ORDER BY 2`).catch(() => null)]);
      return rows;
    };
    const before = await rowsOfB();
    await record([
      { ...good, event_id: 'a1', call_id: 'shared' },
      { ...good, event_id: 'b1', usage: { input_tokens: 9 } },
      { ...good, event_id: 'a2', call_id: 'shared', usage: { input_tokens: 5 }, usage_quality: 'partial' },
    ]);
    await postEverything(api.app);
    expect(await rowsOfB()).toEqual(before);
  });
});
