/**
 * The question of Portkey's webhook check (gateway 1.15): the request as it will be sent, and the metadata that the client put into
 * `x-portkey-metadata`. Portkey passes on no headers, so that metadata is the only place a tenant can stand in; its names are those of
 * our own events, then the ones other senders use.
 */
import { isJsonObject, type JsonObject } from '#libs/kernel/index.js';
import { sizeOfCall } from './call-body.js';
import type { GatewayQuestion } from './gateway-question.js';
import { attributeLiteLlm } from './litellm-attribution.js';
import { idOf, objectAt } from './litellm-fields.js';

/** These calls answer with numbers, not with text. */
const WITHOUT_TEXT: ReadonlySet<unknown> = new Set(['embed', 'moderate']);

export interface PortkeyQuestion extends GatewayQuestion {
  /** The request's body as Portkey will send it; null where it has none. */
  readonly body: JsonObject | null;
}

/** The question, or null where Portkey shows an answer rather than a request. */
export function readPortkeyHook(item: JsonObject): PortkeyQuestion | null {
  if (item['eventType'] === 'afterRequestHook') return null;
  const sent = objectAt(item, 'request')['json'];
  const body = isJsonObject(sent) ? sent : null;
  const metadata = objectAt(item, 'metadata');
  const size = sizeOfCall(body ?? {});
  return {
    ...attributeLiteLlm({ metadata: { requester_metadata: metadata } }, {}),
    ...size,
    maxOutputTokens: WITHOUT_TEXT.has(item['requestType']) ? 0 : size.maxOutputTokens,
    callId: idOf(metadata['call_id']),
    provider: idOf(item['provider']),
    body,
  };
}
