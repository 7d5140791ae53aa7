/**
 * Usage and cost of one LiteLLM payload. LiteLLM counts cached, cache-written, audio and image tokens inside prompt_tokens for every
 * provider; our pools exclude each other, so that nothing is charged twice. A sum that does not add up is clamped at 0 and flagged.
 * A cost of 0 is what LiteLLM says for a model it has no price for: it is unknown, never free.
 */
import { nanoFromGatewayNumber, type JsonObject, type Nano } from '#libs/kernel/index.js';
import type { Usage } from '#libs/pricing/index.js';
import type { UsageQuality } from '../domain/spend-event.js';
import { countAt, figuresAt, numberAt, objectAt, quantityAt, textAt } from './litellm-fields.js';

/** What happened to the call, as far as money is concerned. */
export type CallOutcome = 'answered' | 'cut_short' | 'failed' | 'refused_by_proxy' | 'gateway_cache';

export interface ReadUsage {
  readonly usage: Usage | null;
  readonly quality: UsageQuality;
  /** The payload's own figures contradict each other. */
  readonly inconsistent: boolean;
}

const NOTHING_RAN: ReadUsage = { usage: { input_tokens: 0, output_tokens: 0 }, quality: 'exact', inconsistent: false };
const NOT_KNOWN: ReadUsage = { usage: null, quality: 'unknown', inconsistent: false };

/** @throws UnreadableFigure when a figure that money depends on is no count */
export function readUsage(item: JsonObject, outcome: CallOutcome, claimedCostNano: Nano | null): ReadUsage {
  if (outcome === 'refused_by_proxy' || outcome === 'gateway_cache') return NOTHING_RAN;
  const counted = countUsage(item);
  if (outcome === 'failed' && !failureWasBilled(item, counted, claimedCostNano)) return streamHadBegun(item) ? NOT_KNOWN : NOTHING_RAN;
  if (!counted.anything) return NOT_KNOWN;
  return { usage: counted.usage, quality: outcome === 'answered' ? 'exact' : 'partial', inconsistent: counted.inconsistent };
}

/** A broken stream is billed by the provider for what it sent; LiteLLM then reports a failure with tokens and a cost. */
function failureWasBilled(item: JsonObject, counted: CountedUsage, claimedCostNano: Nano | null): boolean {
  return (claimedCostNano ?? 0n) > 0n || (counted.usage.output_tokens ?? 0) > 0 || (counted.anything && streamHadBegun(item));
}

/** The first piece of an answer arrived before the end: the provider will charge for it even where nobody counted. */
function streamHadBegun(item: JsonObject): boolean {
  const start = numberAt(item, 'startTime');
  const first = numberAt(item, 'completionStartTime');
  const end = numberAt(item, 'endTime');
  return start !== null && first !== null && end !== null && first > start && first < end;
}

interface CountedUsage {
  readonly usage: Usage;
  readonly anything: boolean;
  readonly inconsistent: boolean;
}

function countUsage(item: JsonObject): CountedUsage {
  const path = 'metadata.usage_object';
  const figures = usageObject(item);
  const input = countAt(figures, 'prompt_tokens', path) ?? countAt(item, 'prompt_tokens', '') ?? 0;
  const output = countAt(figures, 'completion_tokens', path) ?? countAt(item, 'completion_tokens', '') ?? 0;
  const total = countAt(figures, 'total_tokens', path);

  const inputParts = inputPools(figures, path);
  const outputDetails = figuresAt(figures, 'completion_tokens_details', path);
  const outputPath = `${path}.completion_tokens_details`;
  const audioOutput = countAt(outputDetails, 'audio_tokens', outputPath) ?? 0;
  const imageOutput = countAt(outputDetails, 'image_tokens', outputPath) ?? 0;
  const reasoning = countAt(outputDetails, 'reasoning_tokens', outputPath) ?? 0;

  const uncached = input - sumOf(inputParts);
  const textOutput = output - audioOutput - imageOutput;
  const meters = readMeters(item, figures, imageOutput);
  const usage = withoutZeros({
    input_tokens: Math.max(uncached, 0),
    ...inputParts,
    output_tokens: Math.max(textOutput, 0),
    reasoning_tokens: Math.min(reasoning, Math.max(textOutput, 0)),
    audio_output_tokens: audioOutput,
    images: input + output === 0 ? generatedImages(item) : 0,
  });
  const counted = input + output > 0 || usage.images !== undefined || Object.keys(meters).length > 0;
  return {
    usage: Object.keys(meters).length > 0 ? { ...usage, meters } : usage,
    anything: counted,
    inconsistent: uncached < 0 || textOutput < 0 || reasoning > Math.max(textOutput, 0) || (total !== null && total !== input + output),
  };
}

/** The full usage: newer payloads carry it in metadata, the response's own is the same figures. */
function usageObject(item: JsonObject): JsonObject {
  const metadata = objectAt(item, 'metadata');
  const inMetadata = metadata['usage_object'];
  return inMetadata === undefined || inMetadata === null
    ? figuresAt(objectAt(item, 'response'), 'usage', 'response')
    : figuresAt(metadata, 'usage_object', 'metadata');
}

type InputPools = Required<
  Pick<Usage, 'cache_read_tokens' | 'cache_creation_tokens' | 'cache_creation_1h_tokens' | 'audio_input_tokens' | 'image_input_tokens'>
>;

function inputPools(figures: JsonObject, path: string): InputPools {
  const details = figuresAt(figures, 'prompt_tokens_details', path);
  const detailsPath = `${path}.prompt_tokens_details`;
  const read = countAt(details, 'cached_tokens', detailsPath) ?? countAt(figures, 'cache_read_input_tokens', path) ?? 0;
  const split = figuresAt(details, 'cache_creation_token_details', detailsPath);
  const splitPath = `${detailsPath}.cache_creation_token_details`;
  const oneHour = countAt(split, 'ephemeral_1h_input_tokens', splitPath) ?? 0;
  const fiveMinutes = countAt(split, 'ephemeral_5m_input_tokens', splitPath) ?? 0;
  const written =
    countAt(details, 'cache_creation_tokens', detailsPath) ??
    countAt(figures, 'cache_creation_input_tokens', path) ??
    countAt(details, 'cache_write_tokens', detailsPath) ??
    fiveMinutes + oneHour;
  return {
    cache_read_tokens: read,
    cache_creation_tokens: Math.max(written - oneHour, 0),
    cache_creation_1h_tokens: oneHour,
    audio_input_tokens: countAt(details, 'audio_tokens', detailsPath) ?? 0,
    image_input_tokens: countAt(details, 'image_tokens', detailsPath) ?? 0,
  };
}

function sumOf(pools: InputPools): number {
  return pools.cache_read_tokens + pools.cache_creation_tokens + pools.cache_creation_1h_tokens + pools.audio_input_tokens + pools.image_input_tokens;
}

/** Input and output stay even at 0, so that a usage object never looks empty; other pools only when something was counted. */
function withoutZeros(pools: Omit<Usage, 'meters'>): Usage {
  const usage: Usage = {};
  for (const [pool, count] of Object.entries(pools) as [keyof typeof pools, number][]) {
    if (count > 0 || pool === 'input_tokens' || pool === 'output_tokens') usage[pool] = count;
  }
  return usage;
}

/** What providers charge for besides tokens. Image output tokens have a price of their own and no pool. */
function readMeters(item: JsonObject, figures: JsonObject, imageOutput: number): Record<string, number> {
  const details = objectAt(figures, 'prompt_tokens_details');
  const detailsPath = 'metadata.usage_object.prompt_tokens_details';
  const serverTools = figuresAt(figures, 'server_tool_use', 'metadata.usage_object');
  const response = objectAt(item, 'response');
  const duration = objectAt(response, 'usage');
  const vectorReads = objectAt(item, 'metadata')['vector_store_request_metadata'];
  const all: Record<string, number | null> = {
    web_search: countAt(serverTools, 'web_search_requests', 'metadata.usage_object.server_tool_use') ?? countAt(details, 'web_search_requests', detailsPath),
    vector_reads: Array.isArray(vectorReads) ? vectorReads.length : null,
    mcp_tool_calls: item['call_type'] === 'call_mcp_tool' ? 1 : null,
    characters: countAt(details, 'character_count', detailsPath),
    input_images: countAt(details, 'image_count', detailsPath),
    video_seconds: quantityAt(details, 'video_length_seconds', detailsPath),
    audio_seconds: textAt(duration, 'type') === 'duration' ? quantityAt(duration, 'seconds', 'response.usage') : null,
    search_units: countAt(objectAt(objectAt(response, 'meta'), 'billed_units'), 'search_units', 'response.meta.billed_units'),
    image_output_tokens: imageOutput,
  };
  const meters: Record<string, number> = {};
  for (const [name, quantity] of Object.entries(all)) if (quantity !== null && quantity > 0) meters[name] = quantity;
  return meters;
}

/** Images of a model that is charged by the piece: it reports no tokens at all. */
function generatedImages(item: JsonObject): number {
  const callType = textAt(item, 'call_type') ?? '';
  const data = objectAt(item, 'response')['data'];
  return callType.includes('image') && Array.isArray(data) ? data.length : 0;
}

/**
 * What LiteLLM says the provider charges, in nano-USD. `original_cost` stands before `response_cost`, which may hold the proxy
 * operator's margin or discount. For a hit of LiteLLM's own cache it is 0, whatever original_cost says.
 */
export function readClaimedCost(item: JsonObject, outcome: CallOutcome): Nano | null {
  if (outcome === 'gateway_cache' || outcome === 'refused_by_proxy') return 0n;
  const breakdown = objectAt(item, 'cost_breakdown');
  const original = numberAt(breakdown, 'original_cost');
  if (original !== null && original > 0) return nanoFromGatewayNumber(original);
  const marked = (numberAt(breakdown, 'margin_total_amount') ?? 0) !== 0 || (numberAt(breakdown, 'discount_amount') ?? 0) !== 0;
  const response = numberAt(item, 'response_cost');
  if (response === null || response <= 0 || (original === 0 && marked)) return null;
  return nanoFromGatewayNumber(response);
}
