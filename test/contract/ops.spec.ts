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

  it('answers an unknown route with a problem document that carries the request id', async () => {
    const answer = await api.call('GET', '/v1/nothing-here', { headers: { 'x-request-id': 'abc-1' } });
    expect(answer.status).toBe(404);
    expect(answer.headers.get('content-type')).toContain('application/problem+json');
    expect(answer.headers.get('x-request-id')).toBe('abc-1');
    expect(answer.body).toMatchObject({ type: 'urn:tollgate:problem:route.not_found', status: 404, code: 'route.not_found', request_id: 'abc-1' });
  });
});
