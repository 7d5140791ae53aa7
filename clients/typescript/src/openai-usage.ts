/**
 * What OpenAI's answers say about usage, in our exclusive pools: cached and audio tokens are inside OpenAI's figures and outside ours. Also
 * counts what a stream has said so far, for the case that its end never comes.
 */
import { byteLength, tokensOf } from './input-size.js';
import type { Usage } from './wire.js';

type Fields = Readonly<Record<string, unknown>>;

/** The pools of a `usage` object of chat completions, responses or embeddings, or null where it is none. */
export function usageOf(value: unknown): Usage | null {
  const usage = fieldsOf(value);
  const input = count(usage['prompt_tokens'] ?? usage['input_tokens']);
  const output = count(usage['completion_tokens'] ?? usage['output_tokens']);
  if (input === null && output === null) return null;
  const inputDetails = fieldsOf(usage['prompt_tokens_details'] ?? usage['input_tokens_details']);
  const outputDetails = fieldsOf(usage['completion_tokens_details'] ?? usage['output_tokens_details']);
  const cacheRead = count(inputDetails['cached_tokens']) ?? 0;
  const cacheWritten = count(inputDetails['cache_write_tokens']) ?? 0;
  const audioIn = count(inputDetails['audio_tokens']) ?? 0;
  const audioOut = count(outputDetails['audio_tokens']) ?? 0;
  const text = Math.max(0, (output ?? 0) - audioOut);
  return {
    input_tokens: Math.max(0, (input ?? 0) - cacheRead - cacheWritten - audioIn),
    cache_read_tokens: cacheRead,
    cache_creation_tokens: cacheWritten,
    audio_input_tokens: audioIn,
    output_tokens: text,
    reasoning_tokens: Math.min(text, count(outputDetails['reasoning_tokens']) ?? 0),
    audio_output_tokens: audioOut,
  };
}

/** Usage and text of one answer or of the pieces of a stream, as far as they were seen. */
export class Tally {
  /** The newest figures of the provider. Cumulative where every piece has some, so that they are never added up. */
  usage: Usage | null = null;
  /** Whether the provider said that it is over. */
  complete = false;
  private bytes = 0;

  get outputTokens(): number {
    return tokensOf(this.bytes);
  }

  /** A whole answer. */
  addAnswer(answer: unknown): void {
    const { usage, choices, output, status } = fieldsOf(answer);
    this.usage = usageOf(usage);
    this.complete = status !== 'queued' && status !== 'in_progress';
    if (this.usage === null) this.bytes += textBytes(choices) + textBytes(output);
  }

  /** A piece of a stream of chat completions or of responses. */
  addPiece(piece: unknown): void {
    const { usage, choices, type, delta, response } = fieldsOf(piece);
    const found = usageOf(usage) ?? usageOf(fieldsOf(response)['usage']);
    if (found !== null) this.usage = found;
    if (Array.isArray(choices)) {
      for (const choice of choices) {
        this.bytes += textBytes(fieldsOf(choice)['delta'] ?? fieldsOf(choice)['message']);
        if (typeof fieldsOf(choice)['finish_reason'] === 'string') this.complete = true;
      }
    }
    if (typeof type !== 'string') return;
    if (type.endsWith('.delta') && typeof delta === 'string') this.bytes += byteLength(delta);
    if (type === 'response.completed' || type === 'response.incomplete' || type === 'response.failed') this.complete = true;
  }
}

/** The piece that `stream_options.include_usage` adds: figures and no choice. */
export function isUsagePiece(piece: unknown): boolean {
  const { usage, choices } = fieldsOf(piece);
  return Array.isArray(choices) && choices.length === 0 && usage !== null && usage !== undefined;
}

const NOT_WRITTEN_BY_THE_MODEL: ReadonlySet<string> = new Set(['id', 'role', 'type', 'status', 'finish_reason', 'index', 'call_id', 'object']);

function textBytes(value: unknown): number {
  if (typeof value === 'string') return byteLength(value);
  if (typeof value !== 'object' || value === null) return 0;
  if (Array.isArray(value)) return value.reduce<number>((sum, item) => sum + textBytes(item), 0);
  return Object.entries(value).reduce((sum, [name, item]) => (NOT_WRITTEN_BY_THE_MODEL.has(name) ? sum : sum + textBytes(item)), 0);
}

export function fieldsOf(value: unknown): Fields {
  return typeof value === 'object' && value !== null ? (value as Fields) : {};
}

function count(value: unknown): number | null {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : null;
}
