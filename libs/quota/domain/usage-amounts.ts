/**
 * What a booked event adds to counters, and where. Tokens: all pools but the reasoning ones, which are inside the output. A request is a
 * call that came to its end (a success, a client's abort, or the provisional charge of a hold that ran out): failed attempts are no requests.
 */
import type { Usage } from '#libs/pricing/index.js';

const COUNTED_POOLS = [
  'input_tokens',
  'cache_read_tokens',
  'cache_creation_tokens',
  'cache_creation_1h_tokens',
  'audio_input_tokens',
  'image_input_tokens',
  'output_tokens',
  'audio_output_tokens',
] as const;

export function tokensOf(usage: Usage | null): bigint {
  if (usage === null) return 0n;
  let tokens = 0n;
  for (const pool of COUNTED_POOLS) tokens += BigInt(usage[pool] ?? 0);
  return tokens;
}

interface Reported {
  readonly endsCall: boolean;
  readonly provisional: boolean;
  readonly status: string;
}

export function isRequest(event: Reported): boolean {
  return event.provisional || endsItsHold(event);
}

/**
 * A call is over on a success or a client's abort; a failed attempt may be followed by another of the same call, and the charge of an
 * unresolved hold says nothing about its call.
 */
export function endsItsHold(event: Reported): boolean {
  return !event.provisional && event.endsCall && (event.status === 'success' || event.status === 'cancelled');
}
