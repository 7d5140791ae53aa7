/**
 * Tags and metadata of a LiteLLM payload: what operators and clients attached to the call, small scalars only.
 * Kept: a list of the proxy's own fields, and scalars that a client put into its metadata, 4 KB in all. Names that suggest content
 * (prompt, message, answer, ...) are left out even there.
 */
import { isJsonObject, type Json, type JsonObject } from '#libs/kernel/index.js';
import type { AttributionField } from '../domain/spend-event.js';
import { objectAt } from './litellm-fields.js';

const MAX_VALUE_BYTES = 256;
const MAX_METADATA_BYTES = 4_096;
const MAX_TAGS = 32;
const MAX_KEY_LENGTH = 64;

const CONTENT_NAME = /prompt|message|content|completion|response|answer|question|query|instruction|input|output|text|body|transcript/i;
const SECRET_NAME = /secret|password|authorization|cookie|api[_-]?key$|token$/i;
const PLAIN_ASCII = /^[\x20-\x7e]*$/;
const UNPRINTABLE = /[\p{C}\p{Zl}\p{Zp}]/u;
/** Names repeat from call to call; three patterns per name would be a third of the time a payload takes. */
const keepableNames = new Map<string, boolean>();
const REMEMBERED_NAMES = 1_000;

type Scalar = string | number | boolean;

/** The proxy's own fields worth keeping: [path, name under our metadata]. */
const KEPT: readonly (readonly [path: readonly string[], name: string])[] = [
  [['call_type'], 'call_type'],
  [['trace_id'], 'trace_id'],
  [['model_id'], 'model_id'],
  [['cache_hit'], 'cache_hit'],
  [['saved_cache_cost'], 'saved_cache_cost'],
  [['cost_breakdown', 'service_tier'], 'service_tier'],
  [['metadata', 'usage_object', 'service_tier'], 'service_tier'],
  [['metadata', 'usage_object', 'inference_geo'], 'inference_geo'],
  [['metadata', 'usage_object', 'speed'], 'speed'],
  [['metadata', 'user_api_key_alias'], 'api_key_alias'],
  [['metadata', 'user_api_key_user_id'], 'api_key_user_id'],
  [['metadata', 'user_api_key_team_id'], 'team_id'],
  [['metadata', 'user_api_key_team_alias'], 'team_alias'],
  [['metadata', 'user_api_key_org_id'], 'org_id'],
  [['status_fields', 'guardrail_status'], 'guardrail_status'],
  [['error_information', 'error_rate_limit_category'], 'error_rate_limit_category'],
];
const NOT_WORTH_A_ROW: ReadonlySet<Scalar> = new Set<Scalar>([false, 0, '', 'not_run']);
const CLIENT_METADATA = ['user_api_key_auth_metadata', 'spend_logs_metadata', 'requester_metadata'] as const;

/** Metadata of one report, or null when there is none. */
export function readMetadata(item: JsonObject, flags: { inconsistent: boolean; unusable: readonly AttributionField[] }): Record<string, Scalar> | null {
  const kept = new Map<string, Scalar>();
  let bytes = 0;
  const keep = (name: string, value: Json | undefined): void => {
    const scalar = scalarOf(value);
    if (scalar === null || kept.has(name)) return;
    const size = Buffer.byteLength(name) + (typeof scalar === 'string' ? Buffer.byteLength(scalar) : 8);
    if (bytes + size > MAX_METADATA_BYTES) return;
    bytes += size;
    kept.set(name, scalar);
  };
  if (flags.inconsistent) keep('usage_inconsistent', true);
  if (flags.unusable.length > 0) keep('unusable_fields', flags.unusable.join(','));
  for (const [path, name] of KEPT) {
    const value = at(item, path);
    if (!NOT_WORTH_A_ROW.has(value as Scalar)) keep(name, value);
  }
  const metadata = objectAt(item, 'metadata');
  for (const container of CLIENT_METADATA) {
    const entries = objectAt(metadata, container);
    for (const name of Object.keys(entries)) if (isKeepableName(name)) keep(name, entries[name]);
  }
  return kept.size === 0 ? null : Object.fromEntries(kept);
}

function at(item: JsonObject, path: readonly string[]): Json | undefined {
  let value: Json | undefined = item;
  for (const name of path) {
    if (!isJsonObject(value)) return undefined;
    value = value[name];
  }
  return value;
}

/** Whether a client's field may be kept: no content, no secret, printable and short. */
export function isKeepableName(name: string): boolean {
  const known = keepableNames.get(name);
  if (known !== undefined) return known;
  const keepable = hasKeepableForm(name);
  if (keepableNames.size < REMEMBERED_NAMES && name.length <= MAX_KEY_LENGTH) keepableNames.set(name, keepable);
  return keepable;
}

function isPrintable(text: string): boolean {
  return PLAIN_ASCII.test(text) || !UNPRINTABLE.test(text);
}

function hasKeepableForm(name: string): boolean {
  return name !== '' && name !== '__proto__' && name.length <= MAX_KEY_LENGTH && isPrintable(name) && !CONTENT_NAME.test(name) && !SECRET_NAME.test(name);
}

/** A value that PostgreSQL's jsonb takes and that is no text to speak of, or null. */
export function scalarOf(value: Json | undefined): Scalar | null {
  if (typeof value === 'boolean') return value;
  if (typeof value === 'number') return Number.isFinite(value) ? value : null;
  if (typeof value !== 'string' || value === '' || value.length > MAX_VALUE_BYTES || !isPrintable(value)) return null;
  return Buffer.byteLength(value) <= MAX_VALUE_BYTES ? value : null;
}

/** LiteLLM's own tags about the client program: one per version, of no use for attribution. */
const USER_AGENT_TAG = 'User-Agent:';

/** "team: search" becomes {team: "search"}; a tag without a colon becomes {tag: "true"}. */
export function readTags(value: Json | undefined): Record<string, string> | null {
  if (!Array.isArray(value)) return null;
  const tags = new Map<string, string>();
  for (const tag of value) {
    if (typeof tag !== 'string' || tag.startsWith(USER_AGENT_TAG) || scalarOf(tag) === null) continue;
    const colon = tag.indexOf(':');
    const name = (colon < 0 ? tag : tag.slice(0, colon)).trim();
    const text = colon < 0 ? 'true' : tag.slice(colon + 1).trim();
    if (!isKeepableName(name) || text === '' || tags.has(name)) continue;
    tags.set(name, text);
    if (tags.size === MAX_TAGS) break;
  }
  return tags.size === 0 ? null : Object.fromEntries(tags);
}
