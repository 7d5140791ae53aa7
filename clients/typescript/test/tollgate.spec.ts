import { TollgateApiError, TollgateTenantError, TollgateUnreachableError } from '../src/errors.js';
import { Tollgate, type TollgateOptions } from '../src/tollgate.js';
import { decision, gate, reason, sendJson, startStubServer, type Answer, type StubServer } from './stub-server.js';

const QUESTION = { tenant_id: 'acme', call_id: 'call-1', provider: 'openai', model: 'gpt-4o' };

describe('the client', () => {
  let server: StubServer;
  let answer: Answer;
  const lines: string[] = [];
  const logger = { warn: (line: string) => lines.push(line), error: (line: string) => lines.push(line) };

  beforeAll(async () => {
    server = await startStubServer((request, response) => answer(request, response));
  });
  afterAll(async () => await server.close());
  beforeEach(() => {
    server.received.length = 0;
    lines.length = 0;
    answer = (_, response) => sendJson(response, 200, decision());
  });

  const client = (options: Partial<TollgateOptions> = {}): Tollgate =>
    new Tollgate({ url: server.url, key: 'tg_key', logger, authorizeTimeoutMs: 5_000, ...options });

  it('asks with the key and without the limits, and hands the decision on', async () => {
    const answered = await client().authorize(QUESTION);
    expect(answered).toEqual({ ...decision(), failure: null });
    expect(server.received).toMatchObject([{ path: '/v1/authorize', body: QUESTION, headers: { authorization: 'Bearer tg_key', prefer: 'return=minimal' } }]);
  });

  it('repeats a question that has a call id, and no other', async () => {
    answer = (_, response) =>
      server.received.length === 1 ? sendJson(response, 503, { code: 'quota.store_unavailable', detail: 'x' }) : sendJson(response, 200, decision());
    expect(await client().authorize(QUESTION)).toMatchObject({ decision: 'allow', failure: null });
    expect(server.received).toHaveLength(2);
    server.received.length = 0;
    const { call_id: _left, ...withoutId } = QUESTION;
    expect(await client().authorize(withoutId)).toMatchObject({ failure: { status: 503 } });
    expect(server.received).toHaveLength(1);
  });

  it.each([
    ['open', 'allow'],
    ['closed', 'block'],
  ] as const)('without a decision in time the policy "%s" answers "%s", and the answer says why', async (onFailure, expected) => {
    const asked = gate();
    answer = async (_, response) => {
      await asked.opened;
      sendJson(response, 200, decision());
    };
    const tollgate = client({ authorizeTimeoutMs: 20, onFailure });
    const outcome = await tollgate.authorize(QUESTION);
    asked.open();
    await tollgate.flush();
    expect(outcome).toMatchObject({ decision: expected, degraded: true, hold: null, reason: { code: 'store_unavailable' } });
    expect(outcome.failure).toBeInstanceOf(TollgateUnreachableError);
    expect(lines).toHaveLength(1);
  });

  it('gives back what a decision held that came too late for a call that was refused', async () => {
    const late = gate();
    answer = async (request, response) => {
      if (request.path === '/v1/authorize') await late.opened;
      sendJson(response, 200, decision());
    };
    const tollgate = client({ authorizeTimeoutMs: 20, onFailure: 'closed' });
    await tollgate.authorize(QUESTION);
    late.open();
    await tollgate.flush();
    expect(server.to('/v1/holds/hold_1/release')).toHaveLength(1);
  });

  it.each([
    ['no connection', { url: 'http://127.0.0.1:9' }, undefined],
    ['a wrong key', {}, 401],
    ['a server in trouble', {}, 500],
    ['an answer that is none', {}, 200],
  ])('takes the failure policy for %s', async (_name, options, status) => {
    answer = (_, response) => sendJson(response, status ?? 200, { decision: 'perhaps' });
    expect(await client(options).authorize(QUESTION)).toMatchObject({ decision: 'allow', reason: { code: 'store_unavailable' } });
  });

  it.each([400, 403, 409])('a question that is wrong in itself (%i) is an error with its code and fields, whatever the policy', async (status) => {
    const problem = { status, code: 'request.invalid', detail: 'no', errors: [{ path: 'model', message: 'must be text' }], request_id: 'r1' };
    answer = (_, response) => sendJson(response, status, problem);
    const error: unknown = await client()
      .authorize(QUESTION)
      .catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(TollgateApiError);
    expect(error).toMatchObject({ status, code: 'request.invalid', errors: problem.errors, requestId: 'r1' });
    expect(server.received).toHaveLength(1);
  });

  it('a block is an answer, not an error', async () => {
    answer = (_, response) => sendJson(response, 200, decision({ decision: 'block', hold: null, reason: reason('rate_limited', 61_001) }));
    expect(await client().authorize(QUESTION)).toMatchObject({ decision: 'block', reason: { code: 'rate_limited', retry_after_ms: 61_001 }, failure: null });
  });

  it('repeats of one settle carry one idempotency key, two settles carry two', async () => {
    answer = (_, response) => sendJson(response, server.received.length === 1 ? 502 : 200, {});
    await client().settle('hold_1', { cost_usd: '0.01', final: false });
    await client().settle('hold_1', { cost_usd: '0.01', final: false });
    const keys = server.received.map(({ headers }) => headers['idempotency-key']);
    expect(keys).toHaveLength(3);
    expect(keys[0]).toBe(keys[1]);
    expect(keys[2]).not.toBe(keys[1]);
  });

  it('a report that is not taken is logged with its call, and flush waits for it', async () => {
    answer = (_, response) =>
      sendJson(response, 202, { accepted: 0, rejected: 1, conflicts: 0, results: [{ outcome: 'rejected', detail: 'usage: must be positive' }] });
    const tollgate = client();
    tollgate.report({ event_id: 'e', call_id: 'call-7' });
    await tollgate.flush();
    expect(lines).toEqual([expect.stringMatching(/call-7.*usage: must be positive/)]);
  });

  it('keeps reporting through an outage that a repeat of a question would not survive', async () => {
    answer = (_, response) => sendJson(response, server.received.length <= 5 ? 503 : 202, { rejected: 0, conflicts: 0, results: [] });
    const tollgate = client();
    tollgate.report({ event_id: 'e', call_id: 'call-7' });
    await tollgate.flush();
    expect([server.received.length, lines]).toEqual([6, []]);
  });

  describe('without a tenant', () => {
    const environment = process.env['NODE_ENV'];
    afterEach(() => {
      process.env['NODE_ENV'] = environment;
    });

    it.each(['', '  '])('outside production %j throws and asks nothing', async (tenantId) => {
      await expect(client().authorize({ ...QUESTION, tenant_id: tenantId })).rejects.toBeInstanceOf(TollgateTenantError);
      expect(server.received).toEqual([]);
    });

    it('in production the call goes on under "unknown", with one line in the log', async () => {
      process.env['NODE_ENV'] = 'production';
      const tollgate = client();
      for (let call = 0; call < 3; call += 1) await tollgate.authorize({ ...QUESTION, tenant_id: '' });
      expect(server.received.map(({ body }) => body.tenant_id)).toEqual([undefined, undefined, undefined]);
      expect(lines).toEqual([expect.stringContaining('"unknown"')]);
    });
  });
});
