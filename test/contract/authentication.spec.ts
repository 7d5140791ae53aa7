import { Controller, Get, Post } from '@nestjs/common';
import { RequireScope } from '../../apps/api/src/http/access.js';
import { startTestApi, type TestApi } from '../support/api.js';
import { captureLog } from '../support/log-capture.js';

@Controller('probe')
class ProbeController {
  @Post('ingest')
  @RequireScope('ingest')
  ingest(): object {
    return {};
  }

  @Get('fails')
  @RequireScope('ingest')
  fails(): never {
    throw new Error('a bug on a route that took its key from the URL');
  }
}

@Controller('forgotten')
class UndeclaredController {
  @Get()
  open(): object {
    return {};
  }
}

describe('authentication', () => {
  const log = captureLog();
  let api: TestApi;
  let ingest: string;
  let read: string;
  beforeAll(async () => {
    api = await startTestApi({ logger: log.logger, controllers: [ProbeController] });
    ingest = await api.makeKey({ scopes: ['ingest'] });
    read = await api.makeKey({ scopes: ['read'] });
  });
  afterAll(async () => await api.close());

  it('refuses to start with a route that declares no access', async () => {
    await expect(startTestApi({ controllers: [UndeclaredController] })).rejects.toThrow('GET /forgotten declares no access');
  });

  it.each([
    ['no key', null],
    ['an empty key', ''],
    ['a key of another form', 'sk-123'],
    ['a key that was never made', 'tg_live_0000000000000000_00000000000000000000000000000000000000'],
    ['a very long key', 'x'.repeat(5_000)],
  ])('answers %s with 401 and a challenge', async (_what, key) => {
    const answer = await api.call('GET', '/v1/tenants', { key });
    expect(answer.status).toBe(401);
    expect(answer.headers.get('www-authenticate')).toContain('Bearer');
  });

  it('answers a key whose secret was altered by one character with 401', async () => {
    const last = read.at(-1) === '0' ? '1' : '0';
    expect((await api.call('GET', '/v1/tenants', { key: read.slice(0, -1) + last })).status).toBe(401);
  });

  it('answers a key of another scope with 403', async () => {
    expect(await api.call('GET', '/v1/tenants', { key: ingest })).toMatchObject({ status: 403, body: { code: 'auth.scope_missing' } });
    expect(await api.call('PUT', '/v1/tenants/x', { key: read, body: {} })).toMatchObject({ status: 403, body: { code: 'auth.scope_missing' } });
    expect((await api.call('GET', '/v1/tenants', { key: read })).status).toBe(200);
  });

  it('judges the key before the body: a stranger learns nothing about what he sent', async () => {
    expect((await api.call('PUT', '/v1/tenants/x', { key: null, body: '{"broken' })).status).toBe(401);
  });

  const basic = (user: string, password: string): string => `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;

  it('serves senders that can only set x-api-key, basic auth or ?key=, on ingest routes alone', async () => {
    expect((await api.call('POST', '/probe/ingest', { key: null, headers: { 'x-api-key': ingest } })).status).toBe(201);
    expect((await api.call('POST', '/probe/ingest', { key: null, headers: { authorization: basic('tollgate', ingest) } })).status).toBe(201);
    expect((await api.call('POST', '/probe/ingest', { key: null, headers: { authorization: basic(ingest, '') } })).status).toBe(201);
    expect((await api.call('POST', `/probe/ingest?key=${ingest}`, { key: null })).status).toBe(201);
    expect((await api.call('GET', '/v1/tenants', { key: null, headers: { 'x-api-key': read } })).status).toBe(401);
    expect((await api.call('GET', '/v1/tenants', { key: null, headers: { authorization: basic('tollgate', read) } })).status).toBe(401);
    expect((await api.call('GET', `/v1/tenants?key=${read}`, { key: null })).status).toBe(401);
  });

  it('takes an admin key in the Authorization header only', async () => {
    const admin = await api.makeKey({ scopes: ['admin'] });
    for (const key of [api.adminKey, admin]) {
      expect((await api.call('POST', '/probe/ingest', { key })).status).toBe(201);
      expect((await api.call('GET', '/v1/tenants', { key })).status).toBe(200);
    }
    const both = await api.makeKey({ scopes: ['admin', 'ingest'] });
    for (const key of [api.adminKey, admin, both]) {
      const { status, body } = await api.call('POST', `/probe/ingest?key=${key}`, { key: null });
      expect({ status, body }).toMatchObject({ status: 403, body: { code: 'auth.weak_carrier' } });
    }
  });

  it('never logs a key, wherever it was sent', async () => {
    const stranger = 'tg_live_canarycanary0000_canarycanarycanarycanarycanarycanary00';
    const paths = [
      `/probe/ingest?key=${ingest}`,
      `/probe/fails?key=${ingest}`,
      `/v1/tenants?key=${ingest}`,
      `/nowhere?key=${ingest}`,
      `/nowhere/${ingest}`,
      `/probe/ingest?a=1&KEY=${stranger}`,
      `/%FF?key=${ingest}`,
    ];
    for (const path of paths) {
      await api.call('GET', path, { key: null });
      await api.call('POST', path, { key: null, headers: { 'x-api-key': ingest } });
      await api.call('POST', path, { key: null, headers: { authorization: basic('u', ingest) } });
      await api.call('POST', path, { key: ingest, body: `{"key":"${ingest}` });
    }
    await api.call('GET', '/v1/tenants', { key: api.adminKey });
    expect(log.text()).toContain('"route":"/probe/ingest"');
    for (const secret of [ingest, ingest.split('_')[3] ?? '', stranger, Buffer.from(`u:${ingest}`).toString('base64'), api.adminKey])
      expect(log.text()).not.toContain(secret);
  });
});
