/**
 * Reads JSON text that nobody vouches for: bounded depth before anything is built, no prototype keys, no broken UTF-8.
 * JSON.parse itself copes with any depth, but what walks the value afterwards (validation, canonical hashing) recurses.
 */
import { isUtf8 } from 'node:buffer';

export const MAX_JSON_DEPTH = 64;

export type JsonProblem = 'not_utf8' | 'not_json' | 'too_deep' | 'forbidden_key';
export type JsonReading = { readonly ok: true; readonly value: unknown } | { readonly ok: false; readonly problem: JsonProblem };

const PROBLEM_DETAILS: Record<JsonProblem, string> = {
  not_utf8: 'the body is not valid UTF-8',
  not_json: 'the body is not valid JSON',
  too_deep: `the body is nested deeper than ${MAX_JSON_DEPTH} levels`,
  forbidden_key: 'the body has the key "__proto__" or "constructor.prototype", which is refused',
};

/** The sentence a caller gets for unreadable JSON. */
export function jsonProblemDetail(problem: JsonProblem): string {
  return PROBLEM_DETAILS[problem];
}

/** Reads a body of JSON bytes. */
export function readJsonBytes(bytes: Buffer): JsonReading {
  if (!isUtf8(bytes)) return { ok: false, problem: 'not_utf8' };
  return readJsonText(bytes.toString('utf8'));
}

/** Reads JSON text, for instance one line of NDJSON. */
export function readJsonText(text: string): JsonReading {
  if (isTooDeep(text)) return { ok: false, problem: 'too_deep' };
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { ok: false, problem: 'not_json' };
  }
  // The keys may be spelled with \u escapes, so any backslash-u makes the text a suspect too.
  const suspect = text.includes('__proto__') || text.includes('"constructor"') || text.includes('\\u');
  return suspect && hasForbiddenKey(value) ? { ok: false, problem: 'forbidden_key' } : { ok: true, value };
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/** Whether brackets nest deeper than {@link MAX_JSON_DEPTH} anywhere in `text`, be it one value or many lines of them. */
export function isTooDeep(text: string): boolean {
  let depth = 0;
  for (let index = 0; index < text.length; index += 1) {
    const code = text.charCodeAt(index);
    if (code === QUOTE) {
      index = endOfString(text, index);
    } else if (code === 0x7b || code === 0x5b) {
      depth += 1;
      if (depth > MAX_JSON_DEPTH) return true;
    } else if (code === 0x7d || code === 0x5d) {
      depth -= 1;
    }
  }
  return false;
}

/** Index of the quote that closes the string opened at `start`; the text's length when none does. */
function endOfString(text: string, start: number): number {
  let end = text.indexOf('"', start + 1);
  while (end !== -1) {
    let backslashes = 0;
    while (text.charCodeAt(end - 1 - backslashes) === BACKSLASH) backslashes += 1;
    if (backslashes % 2 === 0) return end;
    end = text.indexOf('"', end + 1);
  }
  return text.length;
}

function hasForbiddenKey(value: unknown): boolean {
  const open: unknown[] = [value];
  for (let node = open.pop(); node !== undefined; node = open.pop()) {
    if (typeof node !== 'object' || node === null) continue;
    if (Object.hasOwn(node, '__proto__') || hasPrototypeUnderConstructor(node)) return true;
    for (const child of Object.values(node)) if (typeof child === 'object' && child !== null) open.push(child);
  }
  return false;
}

function hasPrototypeUnderConstructor(node: object): boolean {
  if (!Object.hasOwn(node, 'constructor')) return false;
  const inner: unknown = (node as { constructor: unknown }).constructor;
  return typeof inner === 'object' && inner !== null && Object.hasOwn(inner, 'prototype');
}
