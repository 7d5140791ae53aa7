/**
 * Hand-written readers for one LiteLLM payload: a schema library would be the slowest part of ingest, and most of a payload
 * (prompts, answers, price tables: 90 % of its bytes) is never looked at. Readers answer null for "not said" and never throw.
 */
import { isExternalId, isJsonObject, type Json, type JsonObject } from '#libs/kernel/index.js';

const NOTHING: JsonObject = Object.freeze({}) as JsonObject;

/** The object at `key`, or an empty one. */
export function objectAt(parent: JsonObject, key: string): JsonObject {
  const value = parent[key];
  return isJsonObject(value) ? value : NOTHING;
}

/** A non-empty string, or null. */
export function textAt(parent: JsonObject, key: string): string | null {
  const value = parent[key];
  return typeof value === 'string' && value !== '' ? value : null;
}

/** A finite number, or null. JSON.parse reads 1e309 as Infinity, hence the check. */
export function numberAt(parent: JsonObject, key: string): number | null {
  const value = parent[key];
  return typeof value === 'number' && Number.isFinite(value) ? value : null;
}

/** An id as our own wire takes it; whole numbers count as their decimal text. */
export function idOf(value: Json | undefined): string | null {
  if (typeof value === 'string') return isExternalId(value) ? value : null;
  return typeof value === 'number' && Number.isSafeInteger(value) ? String(value) : null;
}

/** Model, provider and error names: letters, digits and the punctuation such names have. Free text does not fit. */
const NAME = /^[\w.:/@+~-]{1,128}$/;

/** A technical name, or null; what is not shaped like a name (a sentence, say) is not let through. */
export function nameAt(parent: JsonObject, key: string): string | null {
  const value = parent[key];
  return typeof value === 'string' && NAME.test(value) ? value : null;
}

/** A figure that money depends on and that cannot be read: the item is refused rather than guessed at. */
export class UnreadableFigure extends Error {
  constructor(
    readonly path: string,
    readonly rule: string,
  ) {
    super(path);
  }
}

/** A group of figures; absent or null is an empty one. @throws UnreadableFigure for anything else that is no object. */
export function figuresAt(parent: JsonObject, key: string, path: string): JsonObject {
  const value = parent[key];
  if (value === undefined || value === null) return NOTHING;
  if (isJsonObject(value)) return value;
  throw new UnreadableFigure(`${path}.${key}`, 'must be an object');
}

/** A token count; absent or null is null. @throws UnreadableFigure for anything else that is no whole number from 0 to 2^53 - 1. */
export function countAt(parent: JsonObject, key: string, path: string): number | null {
  const value = parent[key];
  if (value === undefined || value === null) return null;
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
  throw new UnreadableFigure(`${path}.${key}`, 'must be a whole number of 0 or more');
}

/** Seconds or other measured quantities; rounded up, since meters are whole units. @throws UnreadableFigure as {@link countAt}. */
export function quantityAt(parent: JsonObject, key: string, path: string): number | null {
  const value = parent[key];
  if (value === undefined || value === null) return null;
  if (typeof value === 'number' && value >= 0 && value <= Number.MAX_SAFE_INTEGER) return Math.ceil(value);
  throw new UnreadableFigure(`${path}.${key}`, 'must be a number of 0 or more');
}
