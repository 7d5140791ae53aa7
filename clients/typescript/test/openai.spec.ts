/**
 * The wrapper of the official `openai` client against a Tollgate and a model of our own. What the real Tollgate answers today is tested
 * with it in test/e2e/sdk-typescript.spec.ts; here stand its answers that need a budget, and the model's misbehaviour.
 */
import type { ServerResponse } from 'node:http';
import OpenAI from 'openai';
import { TollgateBlockedError, TollgateTenantError, TollgateUnmeteredError } from '../src/errors.js';
import { withTollgate, type MeteringSettings } from '../src/openai.js';
import { Tollgate } from '../src/tollgate.js';
import { decision, gate, reason, sendJson, startStubServer, type Answer, type Received, type StubServer } from './stub-server.js';

const MESSAGES = [{ role: 'user' as const, content: 'hello' }];
const USAGE = { prompt_tokens: 30, completion_tokens: 5, total_tokens: 35, prompt_tokens_details: { cached_tokens: 10 } };
const ANSWER = {
  id: 'c1',
  object: 'chat.completion',
  choices: [{ index: 0, finish_reason: 'stop', message: { role: 'assistant', content: '{"a":1}' } }],
  usage: USAGE,
};

describe('withTollgate', () => {
  let tollgateServer: StubServer;
  let model: StubServer;
  let decide: (question: any) => Record<string, unknown> | Promise<Record<string, unknown>>;
  let answer: Answer;
  let tollgate: Tollgate;

  beforeAll(async () => {
    tollgateServer = await startStubServer(async (request, response) => {
      if (request.path === '/v1/authorize') return sendJson(response, 200, await decide(request.body));
      sendJson(response, 202, { accepted: 1, rejected: 0, conflicts: 0, results: [] });
    });
    model = await startStubServer((request, response) => answer(request, response));
  });
  afterAll(async () => {
    await tollgateServer.close();
    await model.close();
  });
  beforeEach(() => {
    tollgateServer.received.length = 0;
    model.received.length = 0;
    decide = () => decision();
    answer = (request, response) => (request.body.stream === true ? sendPieces(response, chatPieces(request)) : sendJson(response, 200, ANSWER));
    tollgate = new Tollgate({ url: tollgateServer.url, key: 'tg_key', authorizeTimeoutMs: 5_000, logger: { warn: unexpected, error: unexpected } });
  });

  // What one test leaves under way must not arrive in the next.
  afterEach(async () => await tollgate.flush());

  const wrapped = (settings: Partial<MeteringSettings> = {}): OpenAI =>
    withTollgate(new OpenAI({ apiKey: 'none', baseURL: `${model.url}/v1`, maxRetries: 2 }), { tollgate, tenantId: 'acme', ...settings });
  const questions = (): any[] => tollgateServer.to('/v1/authorize').map(({ body }) => body);

  /** All that Tollgate was told after the question, once nothing is under way any more. */
  async function told(): Promise<{ events: any[]; released: string[] }> {
    await tollgate.flush();
    return {
      events: tollgateServer.to('/v1/events').map(({ body }) => body),
      released: tollgateServer.to('/release').map(({ path }) => path.split('/')[3] ?? ''),
    };
  }

  it('asks with names and sizes, never with text, and reports the usage of the answer under the same call id', async () => {
    const settings = { feature: 'summarize', userId: 'u1', tags: { team: 'blue' }, environment: 'staging' };
    await wrapped(settings).chat.completions.create({ model: 'gpt-4o', messages: MESSAGES, max_tokens: 100 });
    const { events, released } = await told();
    expect(questions()).toEqual([
      {
        call_id: expect.any(String),
        tenant_id: 'acme',
        user_id: 'u1',
        feature: 'summarize',
        environment: 'staging',
        tags: { team: 'blue' },
        provider: 'openai',
        model: 'gpt-4o',
        input_tokens: 7,
        max_output_tokens: 100,
      },
    ]);
    expect(events).toMatchObject([
      {
        event_id: questions()[0].call_id,
        call_id: questions()[0].call_id,
        hold_id: 'hold_1',
        tenant_id: 'acme',
        user_id: 'u1',
        feature: 'summarize',
        tags: { team: 'blue' },
        model: 'gpt-4o',
        usage: { input_tokens: 20, cache_read_tokens: 10, output_tokens: 5 },
        usage_quality: 'exact',
        status: 'success',
        stream: false,
      },
    ]);
    expect(released).toEqual([]);
    expect(JSON.stringify(tollgateServer.received)).not.toContain('hello');
  });

  it('a downgrade swaps the model and cuts the limit, and the report names both models', async () => {
    decide = () =>
      decision({
        decision: 'downgrade',
        model: 'gpt-4o-mini',
        route: { provider: 'openai', model: 'gpt-4o-mini' },
        max_output_tokens: 60,
        reason: reason('budget_downgrade'),
      });
    const request = { model: 'gpt-4o', messages: MESSAGES, max_tokens: 100 };
    await wrapped().chat.completions.create(request);
    expect(model.received[0]?.body).toMatchObject({ model: 'gpt-4o-mini', max_tokens: 60 });
    expect((await told()).events).toMatchObject([{ model: 'gpt-4o-mini', requested_model: 'gpt-4o' }]);
    // What the caller passed is his: a second call asks for the first model again.
    expect(request).toMatchObject({ model: 'gpt-4o', max_tokens: 100 });
  });

  it('a downgrade to another provider is a refusal and gives its hold back, since this client cannot follow it', async () => {
    decide = () =>
      decision({
        decision: 'downgrade',
        model: 'claude-haiku-4-5',
        route: { provider: 'anthropic', model: 'claude-haiku-4-5' },
        reason: reason('budget_downgrade'),
      });
    await expect(wrapped().chat.completions.create({ model: 'gpt-4o', messages: MESSAGES })).rejects.toMatchObject({ status: 402, code: 'budget_downgrade' });
    expect((await told()).released).toEqual(['hold_1']);
    expect(model.received).toEqual([]);
  });

  it.each([
    ['insufficient_funds', 402, null],
    ['budget_exhausted', 402, 90_000],
    ['in_flight_exhausted', 429, 250],
    ['tenant_suspended', 403, null],
    ['store_unavailable', 503, null],
    ['newer_than_this_client', 429, 10],
  ])('a block (%s) throws with status %i before anything is sent', async (code, status, retryAfterMs) => {
    decide = () => decision({ decision: 'block', hold: null, reason: reason(code, retryAfterMs) });
    const error: unknown = await wrapped()
      .responses.create({ model: 'gpt-4o', input: 'hello' })
      .catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(TollgateBlockedError);
    expect(error).toMatchObject({ code, status, retryAfterMs, tenantId: 'acme' });
    expect([model.received, await told()]).toEqual([[], { events: [], released: [] }]);
  });

  it('the retries of the SDK are one call: asked once, reported once', async () => {
    answer = (_, response) => (model.received.length < 3 ? sendJson(response, 500, {}, { 'retry-after-ms': '1' }) : sendJson(response, 200, ANSWER));
    await wrapped().chat.completions.create({ model: 'gpt-4o', messages: MESSAGES });
    expect([model.received.length, questions().length]).toEqual([3, 1]);
    expect(await told()).toMatchObject({ events: [{ status: 'success' }], released: [] });
  });

  it('a call that ran unchecked is reported with the hold that a late decision took for it, and so closes it', async () => {
    const late = gate();
    decide = async () => {
      await late.opened;
      return decision({ hold: { hold_id: 'hold_late' } });
    };
    tollgate = new Tollgate({ url: tollgateServer.url, key: 'tg_key', authorizeTimeoutMs: 20, logger: { warn: unexpected, error: () => undefined } });
    await wrapped().chat.completions.create({ model: 'gpt-4o', messages: MESSAGES });
    late.open();
    expect(await told()).toMatchObject({ events: [{ hold_id: 'hold_late', status: 'success' }], released: [] });
  });

  it('an error of the model gives the hold back, and reports nothing', async () => {
    answer = (_, response) => sendJson(response, 400, { error: { message: 'no' } });
    await expect(wrapped().chat.completions.create({ model: 'gpt-4o', messages: MESSAGES })).rejects.toMatchObject({ status: 400 });
    expect(await told()).toEqual({ events: [], released: ['hold_1'] });
  });

  it('a connection that was never made gives the hold back; one that broke after sending is charged for its input', async () => {
    const gone = await startStubServer(() => undefined);
    await gone.close();
    const nowhere = withTollgate(new OpenAI({ apiKey: 'none', baseURL: `${gone.url}/v1`, maxRetries: 0 }), { tollgate, tenantId: 'acme' });
    await expect(nowhere.chat.completions.create({ model: 'gpt-4o', messages: MESSAGES })).rejects.toThrow('Connection error');
    expect(await told()).toEqual({ events: [], released: ['hold_1'] });
    answer = (_, response) => void response.destroy();
    await expect(wrapped().withOptions({ maxRetries: 0 }).chat.completions.create({ model: 'gpt-4o', messages: MESSAGES })).rejects.toThrow('Connection error');
    expect((await told()).events).toMatchObject([{ status: 'cancelled', usage_quality: 'partial', usage: { input_tokens: 7, output_tokens: 0 } }]);
  });

  it('an abort while the decision is under way sends nothing and gives the hold back', async () => {
    const leaving = new AbortController();
    decide = () => {
      leaving.abort();
      return decision();
    };
    await expect(wrapped().chat.completions.create({ model: 'gpt-4o', messages: MESSAGES }, { signal: leaving.signal })).rejects.toThrow('abort');
    expect([model.received, await told()]).toEqual([[], { events: [], released: ['hold_1'] }]);
  });

  describe('streams', () => {
    const stream = async (extra: object = {}) => await wrapped().chat.completions.create({ model: 'gpt-4o', messages: MESSAGES, stream: true, ...extra });

    it('asks the model for the usage, hides the piece it comes in, and reports it', async () => {
      const pieces = [];
      for await (const piece of await stream({ stream_options: { include_obfuscation: false } })) pieces.push(piece);
      expect(model.received[0]?.body.stream_options).toEqual({ include_obfuscation: false, include_usage: true });
      expect(pieces.map(({ choices }) => choices.length)).toEqual([1, 1, 1]);
      expect((await told()).events).toMatchObject([
        { status: 'success', usage_quality: 'exact', stream: true, ttft_ms: expect.any(Number), usage: { output_tokens: 5 } },
      ]);
    });

    it('shows that piece to a caller who asked for it', async () => {
      const pieces = [];
      for await (const piece of await stream({ stream_options: { include_usage: true } })) pieces.push(piece);
      expect(pieces.at(-1)?.usage).toMatchObject(USAGE);
    });

    it.each([
      [
        'an early break',
        async (pieces: AsyncIterable<unknown>) => {
          for await (const _ of pieces) break;
        },
      ],
      ['an abort before anything was read', async (pieces: { controller: AbortController }) => pieces.controller.abort()],
    ])('%s is reported as partial, with its input', async (_name, leave) => {
      answer = (request, response) => sendPieces(response, chatPieces(request).slice(0, 2), 'hold open');
      await leave(await stream());
      const { events, released } = await told();
      expect(events).toMatchObject([{ status: 'cancelled', usage_quality: 'partial', usage: { input_tokens: 7 } }]);
      expect(released).toEqual([]);
    });

    it('a stream that breaks throws as it would without us, and is reported as partial with what was seen', async () => {
      answer = (request, response) => sendPieces(response, chatPieces(request).slice(0, 2), 'break');
      await expect(readAll(await stream())).rejects.toThrow('terminated');
      // "Every " and "year." are eleven bytes.
      expect((await told()).events).toMatchObject([{ status: 'cancelled', usage_quality: 'partial', usage: { input_tokens: 7, output_tokens: 4 } }]);
    });

    it('a stream that ends without figures is counted, never free', async () => {
      answer = (request, response) => sendPieces(response, [...chatPieces(request).slice(0, 3), 'data: [DONE]\n\n']);
      await readAll(await stream());
      expect((await told()).events).toMatchObject([{ status: 'success', usage_quality: 'partial', usage: { output_tokens: 4 } }]);
    });

    it('both halves of a split stream are one call', async () => {
      const [left, right] = (await stream()).tee();
      await Promise.all([readAll(left), readAll(right)]);
      expect((await told()).events).toHaveLength(1);
    });

    it('a stream of the responses API is settled by its last event', async () => {
      const done = { type: 'response.completed', response: { usage: { input_tokens: 40, output_tokens: 6, input_tokens_details: { cached_tokens: 0 } } } };
      answer = (_, response) => sendPieces(response, [event({ type: 'response.output_text.delta', delta: 'abc' }), event(done)]);
      await readAll(await wrapped().responses.create({ model: 'gpt-4o', input: 'hello', stream: true }));
      expect(model.received[0]?.body.stream_options).toBeUndefined();
      expect((await told()).events).toMatchObject([{ status: 'success', usage_quality: 'exact', usage: { input_tokens: 40, output_tokens: 6 } }]);
    });
  });

  describe('nothing goes around it', () => {
    it.each([
      ['parse', async (openai: OpenAI) => await openai.chat.completions.parse({ model: 'gpt-4o', messages: MESSAGES })],
      ['stream', async (openai: OpenAI) => await openai.chat.completions.stream({ model: 'gpt-4o', messages: MESSAGES }).finalContent()],
      ['withResponse', async (openai: OpenAI) => await openai.chat.completions.create({ model: 'gpt-4o', messages: MESSAGES }).withResponse()],
      ['a copy', async (openai: OpenAI) => await openai.withOptions({ timeout: 9_000 }).chat.completions.create({ model: 'gpt-4o', messages: MESSAGES })],
      ['embeddings', async (openai: OpenAI) => await openai.embeddings.create({ model: 'text-embedding-3-small', input: 'hello', encoding_format: 'float' })],
    ])('%s is asked for and reported', async (_name, use) => {
      await use(wrapped());
      expect([questions().length, (await told()).events.length]).toEqual([1, 1]);
    });

    it('the plain client stays plain', async () => {
      const plain = new OpenAI({ apiKey: 'none', baseURL: `${model.url}/v1` });
      withTollgate(plain, { tollgate, tenantId: 'acme' });
      await plain.chat.completions.create({ model: 'gpt-4o', messages: MESSAGES });
      expect(tollgateServer.received).toEqual([]);
    });

    it.each([
      ['images', async (openai: OpenAI) => await openai.images.generate({ model: 'gpt-image-1', prompt: 'a cat' })],
      ['legacy completions', async (openai: OpenAI) => await openai.completions.create({ model: 'm', prompt: 'a cat' })],
      ['a response in the background', async (openai: OpenAI) => await openai.responses.create({ model: 'gpt-4o', input: 'x', background: true })],
    ])('%s cannot be measured and are refused, not let through', async (_name, use) => {
      await expect(use(wrapped())).rejects.toBeInstanceOf(TollgateUnmeteredError);
      expect([model.received, tollgateServer.received]).toEqual([[], []]);
    });

    it('a call without a tenant throws outside production and sends nothing', async () => {
      await expect(wrapped({ tenantId: () => '' }).chat.completions.create({ model: 'gpt-4o', messages: MESSAGES })).rejects.toBeInstanceOf(
        TollgateTenantError,
      );
      expect([model.received, tollgateServer.received]).toEqual([[], []]);
    });
  });
});

function unexpected(line: string): void {
  throw new Error(`logged: ${line}`);
}

function event(data: object): string {
  return `data: ${JSON.stringify(data)}\n\n`;
}

function chatPieces({ body }: Received): string[] {
  const piece = (choices: object[], extra: object = {}): string =>
    event({ id: 'c1', object: 'chat.completion.chunk', created: 1, model: body.model, choices, ...extra });
  const words = ['Every ', 'year.'].map((content) => piece([{ index: 0, delta: { role: 'assistant', content }, finish_reason: null }]));
  const figures = body.stream_options?.include_usage === true ? [piece([], { usage: USAGE })] : [];
  return [...words, piece([{ index: 0, delta: {}, finish_reason: 'stop' }]), ...figures, 'data: [DONE]\n\n'];
}

function sendPieces(response: ServerResponse, pieces: readonly string[], end?: 'hold open' | 'break'): void {
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  const last = pieces.join('');
  if (end === 'hold open') return void response.write(last);
  if (end === 'break') return void response.write(last, () => setImmediate(() => response.destroy()));
  response.end(last);
}

async function readAll(pieces: AsyncIterable<unknown>): Promise<unknown[]> {
  const read = [];
  for await (const piece of pieces) read.push(piece);
  return read;
}
