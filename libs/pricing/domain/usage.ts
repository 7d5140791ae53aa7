/**
 * What one provider call consumed. Input pools are exclusive of each other; `output_tokens` holds all text output with
 * `reasoning_tokens` inside it, `audio_output_tokens` is outside it. Anything else is a meter, counted by name.
 */
import { isExternalId } from '../../kernel/index.js';

export const USAGE_POOLS = [
  'input_tokens',
  'cache_read_tokens',
  'cache_creation_tokens',
  'cache_creation_1h_tokens',
  'audio_input_tokens',
  'image_input_tokens',
  'output_tokens',
  'reasoning_tokens',
  'audio_output_tokens',
  'images',
] as const;

export type UsagePool = (typeof USAGE_POOLS)[number];

/** The wire object as it is; quantities are non-negative safe integers, an absent pool is 0. Unknown usage is null, never this. */
export type Usage = { [pool in UsagePool]?: number } & { meters?: Record<string, number> };

const METER_PREFIX = 'meter:';

/** A priced component: a pool, or a meter by name ("meter:web_search"). */
export type Component = UsagePool | `meter:${string}`;

const POOLS: ReadonlySet<string> = new Set(USAGE_POOLS);

export const COMPONENT_RULE = 'must be a usage pool such as "input_tokens", or "meter:<name>"';

/** Whether `text` names something that can have a price. */
export function isComponent(text: string): text is Component {
  return POOLS.has(text) || (text.startsWith(METER_PREFIX) && isExternalId(text.slice(METER_PREFIX.length)));
}

/** The meter's name, or null for a pool. */
export function meterName(component: Component): string | null {
  return component.startsWith(METER_PREFIX) ? component.slice(METER_PREFIX.length) : null;
}

export function meterComponent(name: string): `meter:${string}` {
  return `${METER_PREFIX}${name}`;
}

/**
 * Meters that count and cost nothing unless somebody prices them: the caller's own work, not a provider's. Every other meter without
 * a price makes the event unpriced, because a provider bills tools and searches and a zero nobody chose would be a gift.
 */
export const INFORMATIONAL_METERS: ReadonlySet<string> = new Set(['requests', 'mcp_tool_calls', 'vector_reads', 'memory_reads', 'memory_writes']);

/** The meter a model with a price per request counts by itself: one event is one call. */
export const REQUESTS = meterComponent('requests');

/** All input tokens: what price tiers look at. */
export function totalInputTokens(usage: Usage): number {
  return (
    (usage.input_tokens ?? 0) +
    (usage.cache_read_tokens ?? 0) +
    (usage.cache_creation_tokens ?? 0) +
    (usage.cache_creation_1h_tokens ?? 0) +
    (usage.audio_input_tokens ?? 0) +
    (usage.image_input_tokens ?? 0)
  );
}

/** Whether any pool was consumed; without one only meters can cost anything. */
export function consumesPools(usage: Usage): boolean {
  return USAGE_POOLS.some((pool) => (usage[pool] ?? 0) > 0);
}
