import { startTestApi, type TestApi } from '../support/api.js';

describe('what machines ask the API', () => {
  let api: TestApi;
  beforeAll(async () => {
    api = await startTestApi();
  });
  afterAll(async () => await api.close());

  it('answers liveness, readiness, metrics and its OpenAPI document without a key', async () => {
    expect(await api.call('GET', '/health/live', { key: null })).toMatchObject({ status: 200, body: { status: 'ok' } });
    expect(await api.call('GET', '/health/ready', { key: null })).toMatchObject({ status: 200, body: { status: 'ok' } });
    const metrics = await api.call('GET', '/metrics', { key: null });
    expect(metrics.body).toContain('tollgate_process_cpu_user_seconds_total');
    const document = await api.call('GET', '/openapi.json', { key: null });
    expect(document.body).toMatchObject({ openapi: '3.1.0', info: { title: 'Tollgate' } });
  });

  it('is not ready, and says which check failed, while a part is not', async () => {
    const failing = await startTestApi({ health: { ledger: async () => ({ ok: false, note: 'drift' }) } });
    const answer = await failing.call('GET', '/health/ready', { key: null });
    expect(answer).toMatchObject({
      status: 503,
      body: { status: 'unavailable', checks: { ledger: { ok: false, note: 'drift' }, database: { ok: true, note: expect.stringContaining('immutability') } } },
    });
    expect(answer.headers.get('retry-after')).toBe('1');
    expect((await failing.call('GET', '/health/live', { key: null })).status).toBe(200);
    await failing.close();
  });

  it('serves its documentation from its own files alone', async () => {
    const page = await api.call('GET', '/docs', { key: null });
    expect(page.status).toBe(200);
    expect(page.headers.get('content-security-policy')).toContain("script-src 'self'");
    expect(page.body).not.toMatch(/https?:/);
    for (const [, path] of (page.body as string).matchAll(/(?:src|href)="([^"]+)"/g))
      expect([path, (await api.call('GET', path ?? '', { key: null })).status]).toEqual([path, 200]);
    expect((await api.call('GET', '/docs/package.json', { key: null })).status).toBe(404);
  });

  it('describes every route it serves under /v1, with a schema for each answer', async () => {
    const { body } = await api.call('GET', '/openapi.json', { key: null });
    const undescribed = Object.entries(body.paths as Record<string, Record<string, { responses: Record<string, { content?: object }> }>>).flatMap(
      ([path, methods]) =>
        Object.entries(methods).flatMap(([method, operation]) => {
          const described = Object.entries(operation.responses).some(
            ([status, response]) => status.startsWith('2') && (status === '204' || response.content !== undefined),
          );
          return described ? [] : [`${method} ${path}`];
        }),
    );
    expect(undescribed).toEqual([]);
    expect(JSON.stringify(body)).not.toContain('_zod');
  });

  it('answers an unknown route with a problem document that carries the request id', async () => {
    const answer = await api.call('GET', '/v1/nothing-here', { headers: { 'x-request-id': 'abc-1' } });
    expect(answer.status).toBe(404);
    expect(answer.headers.get('content-type')).toContain('application/problem+json');
    expect(answer.headers.get('x-request-id')).toBe('abc-1');
    expect(answer.body).toMatchObject({ type: 'urn:tollgate:problem:route.not_found', status: 404, code: 'route.not_found', request_id: 'abc-1' });
  });
});
