/**
 * How large a call is, read from the body that a gateway passes on: OpenAI's chat, completions, responses and embeddings, Anthropic's
 * messages. The body is somebody else's and may be cut, compressed or no JSON at all, so nothing here is an error: what cannot be read is
 * not said. Sizes err upwards, as in the hook for LiteLLM: three bytes a token, the most a provider counts for a picture.
 */
import { isExternalId, isJsonObject, type Json, type JsonObject } from '#libs/kernel/index.js';

export interface CallSize {
  readonly model: string | null;
  readonly inputTokens: number | null;
  readonly maxOutputTokens: number | null;
}

const BYTES_PER_TOKEN = 3;
const BYTES_PER_IMAGE = 1_600 * BYTES_PER_TOKEN;
/** Base64 of a PDF or a recording is some 30 bytes a token. */
const MEDIA_DISCOUNT = 10;
const INPUT_FIELDS = ['messages', 'system', 'instructions', 'input', 'prompt', 'tools', 'functions', 'response_format', 'query', 'documents'] as const;
const OUTPUT_FIELDS = ['max_completion_tokens', 'max_tokens', 'max_output_tokens'] as const;
/** How many answers one call asks for; each may be as long as the limit. */
const ANSWER_FIELDS = ['n', 'best_of'] as const;
const MAX_ANSWERS = 1_024;
const MAX_TOKENS = 1_000_000_000;
const MAX_DEPTH = 32;
const MEDIA_FIELDS: ReadonlySet<string> = new Set(['data', 'file_data', 'b64_json']);
const NOTHING: CallSize = { model: null, inputTokens: null, maxOutputTokens: null };

/** Reads a body as it came; of one that was cut, what stands before the cut and the size of that. */
export function readCallBody(bytes: Buffer): CallSize {
  if (bytes.length === 0) return NOTHING;
  const text = bytes.toString('utf8');
  const whole = parsed(text);
  if (isJsonObject(whole)) return sizeOfCall(whole);
  const begun = whole === undefined ? readBeginning(text) : null;
  if (begun === null) return NOTHING;
  return { ...sizeOfCall(begun), inputTokens: Math.ceil(bytes.length / BYTES_PER_TOKEN) };
}

/** What a call's body says of its size. */
export function sizeOfCall(body: JsonObject): CallSize {
  const model = own(body, 'model');
  const limits = OUTPUT_FIELDS.map((field) => own(body, field)).filter(isCount);
  const size = INPUT_FIELDS.reduce((sum, field) => sum + textSize(own(body, field)), 0);
  return {
    model: typeof model === 'string' && isExternalId(model) ? model : null,
    inputTokens: size === 0 ? null : tokensOf(size),
    maxOutputTokens: limits.length === 0 ? null : Math.min(MAX_TOKENS, Math.max(...limits) * answersOf(body)),
  };
}

/** Tokens of what a model is given to read: texts, messages, tools. */
export function tokensIn(...values: readonly (Json | undefined)[]): number | null {
  const size = values.reduce<number>((sum, value) => sum + textSize(value), 0);
  return size === 0 ? null : tokensOf(size);
}

/** The same call with another model and no answer longer than allowed; fields that said less stay. */
export function changedCall(body: JsonObject, to: { model: string | null; maxOutputTokens: number | null }): JsonObject {
  const changed: JsonObject = { ...body };
  if (to.model !== null) changed['model'] = to.model;
  const each = to.maxOutputTokens === null ? null : Math.max(1, Math.floor(to.maxOutputTokens / answersOf(body)));
  for (const field of OUTPUT_FIELDS) {
    const asked = own(body, field);
    if (each !== null && isCount(asked) && asked > each) changed[field] = each;
  }
  return changed;
}

function tokensOf(size: number): number {
  return Math.min(MAX_TOKENS, Math.ceil(size / BYTES_PER_TOKEN));
}

function answersOf(body: JsonObject): number {
  const asked = ANSWER_FIELDS.map((field) => own(body, field)).filter((value): value is number => isCount(value) && value <= MAX_ANSWERS);
  return Math.max(1, ...asked);
}

function isCount(value: Json | undefined): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value > 0;
}

function own(body: JsonObject, name: string): Json | undefined {
  return Object.hasOwn(body, name) ? body[name] : undefined;
}

/** Bytes that the model will read; a number is a token id, one token. */
function textSize(value: Json | undefined, depth = 0): number {
  if (typeof value === 'string') {
    if (!value.startsWith('data:')) return Buffer.byteLength(value);
    return value.startsWith('data:image/') ? BYTES_PER_IMAGE : Math.floor(value.length / MEDIA_DISCOUNT);
  }
  if (typeof value === 'number' || typeof value === 'boolean') return BYTES_PER_TOKEN;
  if (value === undefined || value === null || depth >= MAX_DEPTH) return 0;
  if (Array.isArray(value)) return value.reduce<number>((sum, item) => sum + textSize(item, depth + 1), 0);
  if (value['type'] === 'image') return BYTES_PER_IMAGE;
  return Object.entries(value).reduce((sum, [name, item]) => {
    if (MEDIA_FIELDS.has(name) && typeof item === 'string') return sum + Math.floor(item.length / MEDIA_DISCOUNT);
    return sum + Buffer.byteLength(name) + textSize(item, depth + 1);
  }, 0);
}

function parsed(text: string): Json | undefined {
  try {
    return JSON.parse(text) as Json;
  } catch {
    return undefined;
  }
}

const KEPT: ReadonlySet<string> = new Set(['model', ...OUTPUT_FIELDS, ...ANSWER_FIELDS]);
const SCALAR = /(?:-?\d[\d.eE+-]*|true|false|null)(?=\s*[,}])/y;
const SPACE = /\s*/y;

/** The named scalars at the top of an object whose end is missing; null where this is no object. */
function readBeginning(text: string): JsonObject | null {
  let at = skipSpace(text, 0);
  if (text[at] !== '{') return null;
  const begun: JsonObject = {};
  do {
    at = skipSpace(text, at + 1);
    const nameEnd = endOfString(text, at);
    const colon = nameEnd === null ? -1 : skipSpace(text, nameEnd);
    if (nameEnd === null || text[colon] !== ':') return begun;
    const start = skipSpace(text, colon + 1);
    const end = endOfValue(text, start);
    if (end === null) return begun;
    const name = text.slice(at + 1, nameEnd - 1);
    if (KEPT.has(name)) begun[name] = parsed(text.slice(start, end)) ?? null;
    at = skipSpace(text, end);
  } while (text[at] === ',');
  return begun;
}

function skipSpace(text: string, from: number): number {
  SPACE.lastIndex = from;
  return from + (SPACE.exec(text)?.[0].length ?? 0);
}

/** Where the value that begins at `start` ends; null where the text ends first. */
function endOfValue(text: string, start: number): number | null {
  if (text[start] === '"') return endOfString(text, start);
  if (text[start] === '{' || text[start] === '[') return endOfContainer(text, start);
  SCALAR.lastIndex = start;
  const scalar = SCALAR.exec(text)?.[0];
  return scalar === undefined ? null : start + scalar.length;
}

function endOfContainer(text: string, start: number): number | null {
  let depth = 0;
  for (let at = start; at < text.length; at += 1) {
    const sign = text[at];
    if (sign === '"') {
      const end = endOfString(text, at);
      if (end === null) return null;
      at = end - 1;
    } else if (sign === '{' || sign === '[') depth += 1;
    else if (sign === '}' || sign === ']') {
      depth -= 1;
      if (depth === 0) return at + 1;
    }
  }
  return null;
}

/** By hand: a pattern with a choice for every character runs out of stack on a long prompt. */
function endOfString(text: string, start: number): number | null {
  if (text[start] !== '"') return null;
  for (let end = text.indexOf('"', start + 1); end !== -1; end = text.indexOf('"', end + 1)) {
    let backslashes = 0;
    while (text[end - 1 - backslashes] === '\\') backslashes += 1;
    if (backslashes % 2 === 0) return end + 1;
  }
  return null;
}
