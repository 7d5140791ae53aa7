/**
 * A model provider of our own: OpenAI's chat completions and Anthropic's messages on one port of 127.0.0.1, with usage figures the
 * caller dictates. The last user message says what to do, as JSON: {"say": "...", "usage": {...}, "behave": "..."}; it travels through
 * a gateway untouched, so a test decides per call what the provider counts and how it misbehaves.
 */
import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** What a provider counts for one call; figures of a real provider's own shape are derived from it. */
export interface UpstreamUsage {
  /** All input, cached and cache-written tokens included. */
  readonly input: number;
  readonly output: number;
  readonly cacheRead?: number;
  readonly cacheWrite5m?: number;
  readonly cacheWrite1h?: number;
  readonly reasoning?: number;
}

export interface UpstreamScript {
  readonly usage: UpstreamUsage;
  /**
   * stall: stops half way (a stream after its first pieces, a plain answer before its first byte) until the client goes away;
   * late: a plain answer comes after a moment, whether or not anyone still waits for it;
   * drop: a stream's connection breaks half way; a number answers that HTTP status.
   */
  readonly behave?: 'stall' | 'late' | 'drop' | 429 | 500;
  /** Only this model misbehaves; others answer as they should. */
  readonly onlyModel?: string;
  /** Distinguishes two calls that would otherwise be equal for a cache. */
  readonly nonce?: string;
}

export interface UpstreamCall {
  readonly path: string;
  readonly model: string;
  readonly responseId: string;
  readonly stream: boolean;
  readonly maxTokens: number | undefined;
  readonly headers: IncomingHttpHeaders;
  /** Set once the client side has gone away before the answer was complete. */
  aborted: boolean;
}

export interface Upstream {
  readonly url: string;
  readonly calls: readonly UpstreamCall[];
  close(): Promise<void>;
}

/** The message content that makes the upstream follow `script`. */
export function scripted(script: UpstreamScript): string {
  return JSON.stringify(script);
}

export async function startUpstream(): Promise<Upstream> {
  const calls: UpstreamCall[] = [];
  const server = createServer((request, response) => {
    answer(request, response, calls).catch(() => response.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}`, calls, close: () => closeServer(server) };
}

async function closeServer(server: Server): Promise<void> {
  server.closeAllConnections();
  server.close();
  await once(server, 'close');
}

interface ChatRequest {
  model: string;
  stream?: boolean;
  max_tokens?: number;
  stream_options?: { include_usage?: boolean };
  messages: { role: string; content: string | { type: string; text?: string }[] }[];
}

async function answer(request: IncomingMessage, response: ServerResponse, calls: UpstreamCall[]): Promise<void> {
  const path = (request.url ?? '').split('?')[0] ?? '';
  const body = JSON.parse(await readBody(request)) as ChatRequest;
  const script = withinLimit(scriptOf(body), body.max_tokens);
  const openAi = path.endsWith('/chat/completions');
  if (!openAi && !path.endsWith('/messages')) {
    sendJson(response, 404, { error: { message: `nothing at ${path}` } });
    return;
  }

  const call: UpstreamCall = {
    path,
    model: body.model,
    responseId: `${openAi ? 'chatcmpl' : 'msg'}-upstream-${calls.length + 1}`,
    stream: body.stream === true,
    maxTokens: body.max_tokens,
    headers: request.headers,
    aborted: false,
  };
  calls.push(call);
  response.on('close', () => {
    call.aborted = !response.writableFinished;
  });
  const misbehaves = script.onlyModel === undefined || script.onlyModel === call.model;
  if (misbehaves && typeof script.behave === 'number') return sendFailure(response, script.behave);
  if (!call.stream && script.behave === 'stall') return void (await once(response, 'close'));
  if (script.behave === 'late') await new Promise<void>((resolve) => setTimeout(resolve, LATE_MS));
  if (!call.stream) return sendJson(response, 200, openAi ? openAiAnswer(call, script.usage) : anthropicAnswer(call, script.usage));
  const chunks = openAi ? openAiChunks(call, script.usage, body.stream_options?.include_usage === true) : anthropicChunks(call, script.usage);
  await sendStream(response, chunks, script);
}

async function readBody(request: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part as Buffer);
  return Buffer.concat(parts).toString('utf8');
}

function scriptOf(body: ChatRequest): UpstreamScript {
  const content = body.messages.at(-1)?.content ?? '';
  const text = typeof content === 'string' ? content : (content.find((part) => part.type === 'text')?.text ?? '');
  try {
    return JSON.parse(text) as UpstreamScript;
  } catch {
    return { usage: { input: 10, output: 5 } };
  }
}

/** As a provider does: an answer is cut at the length that was asked for. */
function withinLimit(script: UpstreamScript, maxTokens: number | undefined): UpstreamScript {
  if (maxTokens === undefined || script.usage.output <= maxTokens) return script;
  return { ...script, usage: { ...script.usage, output: maxTokens } };
}

function sendJson(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
}

function sendFailure(response: ServerResponse, status: 429 | 500): void {
  const type = status === 429 ? 'rate_limit_error' : 'api_error';
  sendJson(response, status, { type: 'error', error: { type, code: String(status), message: `the upstream answers ${status} on purpose` } });
}

/** After the piece with {@link LAST_WORD_BEFORE_STALL} a stalling stream waits until the client goes away; a dropping one breaks. */
async function sendStream(response: ServerResponse, chunks: readonly string[], script: UpstreamScript): Promise<void> {
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' });
  for (const chunk of chunks) {
    await new Promise<void>((resolve) => response.write(chunk, () => resolve()));
    // A later turn of the loop, so that the first piece is seen before the last and time to first token is measurable.
    await new Promise<void>((resolve) => setTimeout(resolve, STREAM_PIECE_PAUSE_MS));
    if (!chunk.includes(LAST_WORD_BEFORE_STALL)) continue;
    if (script.behave === 'drop') return void response.destroy();
    if (script.behave === 'stall') return void (await once(response, 'close'));
  }
  response.end();
}

const STREAM_PIECE_PAUSE_MS = 5;
const LATE_MS = 1_000;
/** Who has seen this word in a stream that stalls has seen all of it. */
export const LAST_WORD_BEFORE_STALL = 'unless';
const STREAMED_WORDS = ['The ', 'contract ', 'renews ', 'every ', 'year ', 'unless ', 'either ', 'party ', 'objects', '.'];
const CREATED_AT_SECONDS = 1_700_000_000;

function openAiUsage(usage: UpstreamUsage): unknown {
  return {
    prompt_tokens: usage.input,
    completion_tokens: usage.output,
    total_tokens: usage.input + usage.output,
    prompt_tokens_details: { cached_tokens: usage.cacheRead ?? 0, audio_tokens: 0 },
    completion_tokens_details: { reasoning_tokens: usage.reasoning ?? 0, audio_tokens: 0, accepted_prediction_tokens: 0, rejected_prediction_tokens: 0 },
  };
}

function openAiAnswer(call: UpstreamCall, usage: UpstreamUsage): unknown {
  return {
    id: call.responseId,
    object: 'chat.completion',
    created: CREATED_AT_SECONDS,
    model: call.model,
    choices: [{ index: 0, finish_reason: 'stop', message: { role: 'assistant', content: STREAMED_WORDS.join('') } }],
    usage: openAiUsage(usage),
  };
}

function openAiChunks(call: UpstreamCall, usage: UpstreamUsage, includeUsage: boolean): string[] {
  const chunk = (choices: unknown[], extra: object = {}): string =>
    `data: ${JSON.stringify({ id: call.responseId, object: 'chat.completion.chunk', created: CREATED_AT_SECONDS, model: call.model, choices, ...extra })}\n\n`;
  const words = STREAMED_WORDS.map((content) => chunk([{ index: 0, delta: { role: 'assistant', content }, finish_reason: null }]));
  const closing = [chunk([{ index: 0, delta: {}, finish_reason: 'stop' }])];
  if (includeUsage) closing.push(chunk([], { usage: openAiUsage(usage) }));
  return [...words, ...closing, 'data: [DONE]\n\n'];
}

/** Anthropic's input_tokens excludes what was read from or written to its cache. */
function anthropicUsage(usage: UpstreamUsage): { input_tokens: number; output_tokens: number } & Record<string, unknown> {
  const read = usage.cacheRead ?? 0;
  const written5m = usage.cacheWrite5m ?? 0;
  const written1h = usage.cacheWrite1h ?? 0;
  return {
    input_tokens: usage.input - read - written5m - written1h,
    cache_read_input_tokens: read,
    cache_creation_input_tokens: written5m + written1h,
    cache_creation: { ephemeral_5m_input_tokens: written5m, ephemeral_1h_input_tokens: written1h },
    output_tokens: usage.output,
    service_tier: 'standard',
  };
}

function anthropicAnswer(call: UpstreamCall, usage: UpstreamUsage): unknown {
  return {
    id: call.responseId,
    type: 'message',
    role: 'assistant',
    model: call.model,
    content: [{ type: 'text', text: STREAMED_WORDS.join('') }],
    stop_reason: 'end_turn',
    stop_sequence: null,
    usage: anthropicUsage(usage),
  };
}

function anthropicChunks(call: UpstreamCall, usage: UpstreamUsage): string[] {
  const event = (type: string, data: object): string => `event: ${type}\ndata: ${JSON.stringify({ type, ...data })}\n\n`;
  const counted = anthropicUsage(usage);
  const message = {
    id: call.responseId,
    type: 'message',
    role: 'assistant',
    model: call.model,
    content: [],
    stop_reason: null,
    usage: { ...counted, output_tokens: 1 },
  };
  return [
    event('message_start', { message }),
    event('content_block_start', { index: 0, content_block: { type: 'text', text: '' } }),
    ...STREAMED_WORDS.map((text) => event('content_block_delta', { index: 0, delta: { type: 'text_delta', text } })),
    event('content_block_stop', { index: 0 }),
    event('message_delta', { delta: { stop_reason: 'end_turn', stop_sequence: null }, usage: { output_tokens: usage.output } }),
    event('message_stop', {}),
  ];
}
