import { connect } from 'node:net';
import { Controller, Post, Put, Body, Get } from '@nestjs/common';
import { z } from 'zod';
import { DomainError } from '#libs/kernel/index.js';
import { PublicRoute, RequireScope } from '../../apps/api/src/http/access.js';
import { IdempotencyKey } from '../../apps/api/src/http/idempotency-key.js';
import { text, externalId } from '../../apps/api/src/http/schemas.js';
import { startTestApi, type ApiAnswer, type TestApi } from '../support/api.js';
import { captureLog } from '../support/log-capture.js';

const SECRET = 'canary-secret-in-an-error';

@Controller('probe')
class ProbeController {
  @Post('ingest')
  @RequireScope('ingest')
  ingest(@Body() body: unknown): object {
    return { kind: typeof body };
  }

  @Put('checked')
  @RequireScope('ingest')
  checked(@Body({ schema: z.strictObject({ name: text(200), id: externalId() }) }) body: object): object {
    return body;
  }

  @Post('idempotent')
  @RequireScope('ingest')
  idempotent(@IdempotencyKey() key: string | null): object {
    return { key };
  }

  @Get('busy')
  @PublicRoute()
  busy(): never {
    throw new DomainError({ code: 'probe.busy', kind: 'unavailable', publicMessage: 'busy', retryAfterMs: 2_500 });
  }

  @Get('slow-down')
  @PublicRoute()
  slowDown(): never {
    throw new DomainError({ code: 'probe.limited', kind: 'rate_limited', publicMessage: 'slow down' });
  }

  @Get('bug')
  @PublicRoute()
  bug(): never {
    throw new Error(`relation "x" at ${SECRET}`);
  }

  @Get('impostor')
  @PublicRoute()
  impostor(): never {
    throw Object.assign(new Error(SECRET), { statusCode: 402, status: 402, code: '23505' });
  }
}

describe('problem documents', () => {
  const log = captureLog();
  let api: TestApi;
  beforeAll(async () => {
    api = await startTestApi({ logger: log.logger, controllers: [ProbeController] });
  });
  afterAll(async () => await api.close());

  const isProblem = (answer: ApiAnswer, status: number, code: string): void => {
    expect([answer.status, answer.body.code]).toEqual([status, code]);
    expect(answer.headers.get('content-type')).toBe('application/problem+json; charset=utf-8');
    expect(answer.body).toMatchObject({
      type: `urn:tollgate:problem:${code}`,
      title: expect.any(String),
      status,
      detail: expect.any(String),
      request_id: answer.headers.get('x-request-id'),
    });
  };

  const limit = 8 * 1024 * 1024;
  const jsonOfSize = (bytes: number): string => `"${'x'.repeat(bytes - 2)}"`;

  it('refuses a body of 8 MiB and one byte with 413, and takes one of 8 MiB', async () => {
    isProblem(await api.call('POST', '/probe/ingest', { body: jsonOfSize(limit + 1) }), 413, 'request.too_large');
    expect((await api.call('POST', '/probe/ingest', { body: jsonOfSize(limit) })).status).toBe(201);
  });

  it.each([
    ['text/plain', 415, 'request.unsupported_media_type'],
    ['application/xml', 415, 'request.unsupported_media_type'],
    ['application/x-www-form-urlencoded', 415, 'request.unsupported_media_type'],
    ['not a media type', 415, 'request.unsupported_media_type'],
  ])('refuses the content type %s', async (type, status, code) => {
    isProblem(await api.call('POST', '/probe/ingest', { body: '{}', headers: { 'content-type': type } }), status, code);
  });

  it('refuses a compressed body instead of inflating it', async () => {
    isProblem(await api.call('POST', '/probe/ingest', { body: '{}', headers: { 'content-encoding': 'gzip' } }), 415, 'request.unsupported_encoding');
  });

  it.each([
    ['text that is no JSON', '{"a":', 'request.not_json'],
    ['nesting of 65 levels', '['.repeat(65) + ']'.repeat(65), 'request.too_deep'],
    ['nesting of a million levels', '['.repeat(1_000_000), 'request.too_deep'],
    ['the key __proto__', '{"__proto__":{"admin":true}}', 'request.forbidden_key'],
    ['the key __proto__ spelled with escapes', '{"a":{"\\u005f_proto__":1}}', 'request.forbidden_key'],
    ['the key constructor.prototype', '{"constructor":{"prototype":{}}}', 'request.forbidden_key'],
    ['bytes that are no UTF-8', Buffer.from([0x22, 0xff, 0x22]), 'request.not_utf8'],
  ])('refuses %s', async (_what, body, code) => {
    isProblem(await api.call('POST', '/probe/ingest', { body }), 400, code);
  });

  it('takes nesting of 64 levels, brackets inside strings uncounted', async () => {
    expect((await api.call('POST', '/probe/ingest', { body: `${'['.repeat(64)}"${'['.repeat(100)}\\""${']'.repeat(64)}` })).status).toBe(201);
  });

  it('takes NDJSON as text for its route to read', async () => {
    expect(await api.call('POST', '/probe/ingest', { body: '{}\n{}', headers: { 'content-type': 'application/x-ndjson' } })).toMatchObject({
      status: 201,
      body: { kind: 'string' },
    });
  });

  it.each([
    ['a NUL', 'a\u0000b'],
    ['a lone surrogate', 'a\udc00b'],
    ['a zero-width character', 'a\u200bb'],
    ['only spaces', '   '],
  ])('refuses text with %s, naming the field', async (_what, value) => {
    const answer = await api.call('PUT', '/probe/checked', { body: { name: value, id: value } });
    isProblem(answer, 400, 'request.invalid');
    expect(answer.body.errors.map((problem: { path: string }) => problem.path)).toEqual(['name', 'id']);
  });

  it('names an unknown field', async () => {
    const answer = await api.call('PUT', '/probe/checked', { body: { name: 'n', id: 'i', surprise: 1 } });
    isProblem(answer, 400, 'request.invalid');
    expect(answer.body.errors).toEqual([{ path: 'surprise', message: 'unknown field' }]);
  });

  it('reads an optional Idempotency-Key and refuses one that is no id', async () => {
    expect((await api.call('POST', '/probe/idempotent')).body).toEqual({ key: null });
    expect((await api.call('POST', '/probe/idempotent', { headers: { 'idempotency-key': 'order:7' } })).body).toEqual({ key: 'order:7' });
    isProblem(await api.call('POST', '/probe/idempotent', { headers: { 'idempotency-key': 'x'.repeat(129) } }), 400, 'request.invalid');
  });

  it('says when to come back on 429 and 503', async () => {
    const busy = await api.call('GET', '/probe/busy', { key: null });
    isProblem(busy, 503, 'probe.busy');
    expect(busy.headers.get('retry-after')).toBe('3');
    const limited = await api.call('GET', '/probe/slow-down', { key: null });
    isProblem(limited, 429, 'probe.limited');
    expect(limited.headers.get('retry-after')).toBe('1');
  });

  it.each(['/probe/bug', '/probe/impostor'])('answers a bug (%s) with a 500 that tells nothing, and logs it under the request id', async (path) => {
    const answer = await api.call('GET', path, { key: null });
    isProblem(answer, 500, 'server.error');
    expect(JSON.stringify(answer.body)).not.toContain(SECRET);
    expect(log.text()).toContain(answer.body.request_id);
  });

  it('answers an undecodable path, a method without a route and a path segment that is too long as problems', async () => {
    isProblem(await api.call('GET', '/v1/tenants/%FF'), 400, 'request.invalid_url');
    isProblem(await api.call('PATCH', '/v1/tenants/x', { body: {} }), 404, 'route.not_found');
    isProblem(await api.call('GET', `/v1/tenants/${'x'.repeat(600)}`), 414, 'request.invalid_url');
  });

  it('sets the security headers and a request id on answers and on problems', async () => {
    for (const path of ['/health/live', '/nowhere', '/v1/tenants/%FF']) {
      const { headers } = await api.call('GET', path);
      expect([
        headers.get('x-content-type-options'),
        headers.get('x-frame-options'),
        headers.has('content-security-policy'),
        headers.has('x-request-id'),
      ]).toEqual(['nosniff', 'DENY', true, true]);
    }
  });

  it('replaces a request id that is too long or not printable by its own', async () => {
    const answer = await api.call('GET', '/health/live', { headers: { 'x-request-id': 'x'.repeat(129) } });
    expect(answer.headers.get('x-request-id')).toMatch(/^req_/);
  });

  it('answers what is no HTTP with a problem document', async () => {
    const { port } = new URL(api.url);
    const answer = await new Promise<string>((resolve, reject) => {
      const socket = connect(Number(port), '127.0.0.1', () => socket.write('GARBAGE\r\n\r\n'));
      let received = '';
      socket
        .setEncoding('utf8')
        .on('data', (chunk: string) => (received += chunk))
        .on('end', () => resolve(received))
        .on('error', reject);
    });
    expect(answer).toContain('HTTP/1.1 400');
    expect(answer).toContain('"code":"request.malformed"');
  });
});
