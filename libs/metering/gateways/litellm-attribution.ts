/**
 * Who a LiteLLM call belongs to. Every field has an ordered list of places, the first that answers wins; a source may replace the list.
 * The order is the security rule: what the proxy's operator bound to a key stands before what a client wrote into its request.
 *
 * A place is a dotted path below the payload ("metadata.requester_metadata.tenant_id") or "tag:<name>", which reads a request tag
 * "<name>: value", the form in which LiteLLM passes on headers named in `extra_spend_tag_headers`. Only metadata and a few identifying
 * fields can be named: no path leads into prompts, answers or parameters.
 */
import { isJsonObject, type Json, type JsonObject } from '#libs/kernel/index.js';
import { ATTRIBUTION_FIELDS, type Attribution, type AttributionField } from '../domain/spend-event.js';
import { idOf } from './litellm-fields.js';

/** Bound to the key, then set for the call by hooks or headers, then sent by the client in the body. */
const METADATA_CONTAINERS = ['metadata.user_api_key_auth_metadata', 'metadata.spend_logs_metadata', 'metadata.requester_metadata'] as const;

function inContainers(...names: readonly string[]): string[] {
  return METADATA_CONTAINERS.flatMap((container) => names.map((name) => `${container}.${name}`));
}

export const LITELLM_ATTRIBUTION: Required<Attribution> = {
  tenant_id: [
    ...inContainers('tenant_id', 'tenant', 'org_id', 'organization_id', 'customer_id', 'account_id', 'team'),
    'tag:x-tenant-id',
    'metadata.user_api_key_team_id',
    'metadata.team_id',
  ],
  user_id: [...inContainers('user_id', 'user', '_user', 'end_user'), 'end_user', 'metadata.user_api_key_end_user_id', 'metadata.user_api_key_user_id'],
  feature: [...inContainers('feature', 'feature_name', 'route', 'surface', 'component'), 'tag:x-feature', 'tag:feature'],
  environment: [...inContainers('environment', 'env', '_environment'), 'tag:x-environment', 'tag:environment'],
  assistant_id: inContainers('assistant_id', 'agent_id', 'agent', 'workflow_id', 'workflow'),
  thread_id: [...inContainers('thread_id', 'session_id', 'conversation_id'), 'session_id', 'trace_id'],
  api_key_id: ['metadata.user_api_key_hash'],
  request_id: inContainers('request_id', 'x-request-id'),
  hold_id: ['metadata.spend_logs_metadata.tollgate_hold_id', 'metadata.requester_metadata.tollgate_hold_id'],
};

/** LiteLLM's name for whoever uses the master key: nobody in particular. */
const NOBODY = 'default_user_id';
const NAMEABLE_ROOTS = new Set(['metadata', 'end_user', 'trace_id', 'session_id', 'model_group', 'call_type']);
const PATH = /^(?:tag:[\w.-]{1,64}|[\w-]{1,64}(?:\.[\w:-]{1,64}){0,7})$/;

/** The rule that a configured path breaks, or null: for the door that takes source settings. */
export function attributionPathProblem(path: string): string | null {
  if (!PATH.test(path)) return 'must be a dotted path such as "metadata.requester_metadata.tenant_id", or "tag:<name>"';
  if (path.startsWith('tag:') || NAMEABLE_ROOTS.has(path.split('.')[0] ?? '')) return null;
  return `must begin with one of ${[...NAMEABLE_ROOTS].join(', ')}, or be "tag:<name>"`;
}

type Place = { readonly tagPrefix: string } | { readonly container: number; readonly name: string };

/** Paths share their containers, which are looked up once per payload: attribution is the larger part of reading one. */
interface Places {
  readonly containers: readonly (readonly string[])[];
  readonly fields: readonly (readonly [AttributionField, readonly Place[]])[];
}

const compiled = new WeakMap<Attribution, Places>();

function placesOf(attribution: Attribution): Places {
  const known = compiled.get(attribution);
  if (known) return known;
  const containers = new Map<string, number>();
  const placeOf = (path: string): Place => {
    if (path.startsWith('tag:')) return { tagPrefix: `${path.slice('tag:'.length).toLowerCase()}:` };
    const dot = path.lastIndexOf('.');
    const container = path.slice(0, Math.max(dot, 0));
    const index = containers.get(container) ?? containers.size;
    containers.set(container, index);
    return { container: index, name: path.slice(dot + 1) };
  };
  const fields = ATTRIBUTION_FIELDS.map((field) => {
    const paths = (attribution[field] ?? LITELLM_ATTRIBUTION[field]).filter((path) => attributionPathProblem(path) === null);
    return [field, paths.map(placeOf)] as const;
  });
  const places = { containers: [...containers.keys()].map((path) => (path === '' ? [] : path.split('.'))), fields };
  compiled.set(attribution, places);
  return places;
}

export interface Attributed {
  readonly found: Readonly<Partial<Record<AttributionField, string>>>;
  /** Fields that were given in a form no id has; they count as not given, except for the tenant. */
  readonly unusable: readonly AttributionField[];
}

/** Reads every attribution field of one payload. */
export function attributeLiteLlm(item: JsonObject, attribution: Attribution): Attributed {
  const places = placesOf(attribution);
  const containers = places.containers.map((segments) => containerAt(item, segments));
  const tags = item['request_tags'];
  const found: Partial<Record<AttributionField, string>> = {};
  const unusable: AttributionField[] = [];
  for (const [field, candidates] of places.fields) {
    for (const place of candidates) {
      const value = 'tagPrefix' in place ? tagValue(tags, place.tagPrefix) : ownValue(containers[place.container], place.name);
      if (value === undefined || value === null || value === '' || value === NOBODY) continue;
      const id = idOf(value);
      if (id === null) unusable.push(field);
      else found[field] = id;
      break;
    }
  }
  return { found, unusable };
}

function containerAt(item: JsonObject, segments: readonly string[]): JsonObject | null {
  let container = item;
  for (const segment of segments) {
    const next = ownValue(container, segment);
    if (!isJsonObject(next)) return null;
    container = next;
  }
  return container;
}

function ownValue(container: JsonObject | null | undefined, name: string): Json | undefined {
  return container && Object.hasOwn(container, name) ? container[name] : undefined;
}

function tagValue(tags: Json | undefined, prefix: string): string | undefined {
  if (!Array.isArray(tags)) return undefined;
  for (const tag of tags) {
    if (typeof tag === 'string' && tag.length > prefix.length && tag.slice(0, prefix.length).toLowerCase() === prefix) {
      const value = tag.slice(prefix.length).trim();
      if (value !== '') return value;
    }
  }
  return undefined;
}
