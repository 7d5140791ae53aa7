import { startTestApi, type TestApi } from '../support/api.js';
import { dumpRowVersions } from '../support/database-dump.js';
import { fillPath, readOpenApi, sampleOf, saysNoInItsBody, takesAnyBody, type Operation } from '../support/openapi.js';

const UNPARSEABLE: ReadonlyArray<readonly [string, string | Buffer, string]> = [
  ['broken JSON', '{"tenant_id": ', 'application/json'],
  ['no UTF-8', Buffer.from([0x7b, 0xff, 0x7d]), 'application/json'],
  ['too deep', '['.repeat(100), 'application/json'],
  ['prototype key', '{"__proto__": {}}', 'application/json'],
  ['wrong type', '<a/>', 'application/xml'],
  ['too large', `"${'x'.repeat(8 * 1024 * 1024)}"`, 'application/json'],
];

describe('S1 a request without the right to, or whose body cannot be read, changes no row', () => {
  let api: TestApi;
  let operations: readonly Operation[];
  let bodyOf: (operation: Operation) => unknown;
  let params: Record<string, string>;
  beforeAll(async () => {
    api = await startTestApi();
    await api.call('PUT', '/v1/tenants/s1', { body: {} });
    const key = await api.call('POST', '/v1/service-keys', { body: { name: 'target', scopes: ['read'] } });
    params = { tenant_id: 's1', key_id: key.body.key_id };
    const document = await readOpenApi(api);
    operations = document.operations;
    bodyOf = (operation) => (operation.bodySchema === null ? undefined : sampleOf(operation.bodySchema, document.resolve));
  });
  afterAll(async () => await api.close());

  const guarded = (): readonly Operation[] => operations.filter((operation) => !operation.public);

  it('refuses every guarded route without a valid key: 401, no row touched', async () => {
    const revoked = await api.call('POST', '/v1/service-keys', { body: { name: 'revoked', scopes: ['admin'] } });
    await api.call('DELETE', `/v1/service-keys/${revoked.body.key_id}`);
    const before = await dumpRowVersions(api.database.url);
    expect(guarded().length).toBeGreaterThan(8);
    for (const operation of guarded()) {
      for (const key of [null, 'nonsense', `tg_live_${'0'.repeat(16)}_${'0'.repeat(38)}`, revoked.body.key as string]) {
        const answer = await api.call(operation.method, fillPath(operation.path, params), { key, body: bodyOf(operation) });
        expect([operation.method, operation.path, answer.status]).toEqual([operation.method, operation.path, 401]);
      }
    }
    expect(await dumpRowVersions(api.database.url)).toEqual(before);
  }, 120_000);

  it('refuses every guarded route for a key of another scope: 403, no row touched', async () => {
    const weak: Record<string, string> = {};
    for (const scope of ['ingest', 'authorize', 'read']) weak[scope] = await api.makeKey({ scopes: [scope] });
    const before = await dumpRowVersions(api.database.url);
    for (const operation of guarded()) {
      // What takes any body is a question from a key with the scope: nothing would stop that one.
      const { authorize: _asks, ...others } = weak;
      const answers = await Promise.all(
        Object.values(takesAnyBody(operation) ? others : weak).map(
          async (key) =>
            await api.call(operation.method, fillPath(operation.path, params), {
              key,
              headers: { 'content-type': 'application/xml' },
              ...(['GET', 'HEAD'].includes(operation.method) ? {} : { body: '<a/>' }),
            }),
        ),
      );
      // At most one of the three scopes opens a route, and that one is stopped by the body it cannot read.
      expect([operation.method, operation.path, answers.filter((answer) => answer.status !== 403).length <= 1]).toEqual([
        operation.method,
        operation.path,
        true,
      ]);
    }
    expect(await dumpRowVersions(api.database.url)).toEqual(before);
  }, 120_000);

  it.each(UNPARSEABLE)(
    'stores nothing of a body that is unreadable: %s',
    async (what, body, type) => {
      const before = await dumpRowVersions(api.database.url);
      // Where each item is judged, an object with a prototype key is a readable item: it becomes a dead letter, not an unreadable body.
      const writing = operations.filter((operation) => operation.bodySchema !== null && !(what === 'prototype key' && operation.successStatuses.includes(202)));
      expect(writing.length).toBeGreaterThan(2);
      for (const operation of writing) {
        const answer = await api.call(operation.method, fillPath(operation.path, params), { body, headers: { 'content-type': type } });
        const saysNo = saysNoInItsBody(operation) && (answer.body.action === 'BLOCKED' || answer.body.verdict === false);
        expect([operation.method, operation.path, saysNo || [400, 413, 415].includes(answer.status)]).toEqual([operation.method, operation.path, true]);
      }
      expect(await dumpRowVersions(api.database.url)).toEqual(before);
    },
    120_000,
  );
});
